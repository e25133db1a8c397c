//! Pure: from a request to what the registry takes.

pub(super) mod metalink;
pub(super) mod torrent;

use std::sync::Arc;

use super::brief::Brief;
use super::request::{AddRequest, Again, RequestError, Source};
use crate::base::gid::Gid;
use crate::format::expand::{EXPANSIONS_MAX, ExpandError, expand};
use crate::format::magnet::is_magnet;
use crate::format::uri::{self, Uri};
use crate::option::keys::{GID, PARAMETERIZED_URI, PAUSE};
use crate::option::spec::{ADD, LIST};
use crate::option::{OptionId, OptionSet};

/// A download to be, checked but for its GID being free.
#[derive(Clone, Debug)]
pub struct DownloadSpec {
    /// The GID the user wants.
    pub gid: Option<Gid>,
    pub uris: Box<[Arc<str>]>,
    /// Of what is more than mirrors of one file.
    pub brief: Option<Box<Brief>>,
    pub options: OptionSet,
    pub paused: bool,
    /// It fetches the torrent of the download after it, which waits for that.
    pub for_next: bool,
}

/// Checks a request; `base` are the options of the process.
///
/// # Errors
/// Options are checked first, as aria2 does: a bad value, then nothing usable to download.
pub fn accept(
    request: AddRequest,
    base: &Arc<OptionSet>,
) -> Result<Vec<DownloadSpec>, RequestError> {
    let AddRequest { source, options } = request;
    match source {
        Source::Uris(uris) => accept_uris(&uris, &options, base),
        Source::Torrent(upload) => {
            let given = Given::read(&options, base)?;
            Ok(vec![torrent::of_upload(&upload, given)?])
        }
        Source::Metalink(upload) => metalink::of_upload(&upload, Given::read(&options, base)?),
        Source::Again(Again { uris, brief }) => {
            let mut given = Given::read(&options, base)?;
            if brief.described.is_some() {
                metalink::forget_choices(&mut given.options);
            }
            Ok(vec![given.into_spec(uris, Some(brief))?])
        }
    }
}

fn accept_uris(
    uris: &[String],
    options: &[(OptionId, String)],
    base: &Arc<OptionSet>,
) -> Result<Vec<DownloadSpec>, RequestError> {
    if uris.is_empty() {
        return Err(RequestError::NoUriGiven);
    }
    let given = Given::read(options, base)?;
    let uris = if given.options.get(PARAMETERIZED_URI) {
        &expanded(uris)?
    } else {
        uris
    };
    let usable: Box<[Arc<str>]> = uris.iter().filter_map(|uri| usable_uri(uri)).collect();
    if !usable.is_empty() {
        return Ok(vec![given.into_spec(usable, None)?]);
    }
    // Mirrors go before links, of which the first counts, as in aria2.
    match uris.iter().find(|uri| is_magnet(uri)) {
        Some(link) => Ok(vec![torrent::of_magnet(link, given)?]),
        None => Err(RequestError::NoUsableUri),
    }
}

/// Every URI that parameterised ones stand for, within one cap for them all.
fn expanded(uris: &[String]) -> Result<Vec<String>, RequestError> {
    let mut all = Vec::with_capacity(uris.len());
    for uri in uris {
        all.extend(expand(uri)?);
        if all.len() > EXPANSIONS_MAX {
            return Err(ExpandError::TooMany.into());
        }
    }
    Ok(all)
}

/// The URI as it is kept, or `None` if no source can take it.
pub fn usable_uri(text: &str) -> Option<Arc<str>> {
    let uri = uri::normalise(text);
    let parsed = Uri::parse(&uri)?;
    // Schemes are lower case only, as in aria2.
    let known = ["http", "https", "ftp", "ftps", "sftp"].contains(&parsed.scheme);
    (known && !parsed.host.is_empty()).then(|| Arc::from(uri))
}

/// The options of a request. `gid` and `pause` say something about the adding, not about the
/// download, and are not kept.
pub(super) struct Given<'a> {
    gid: Option<&'a str>,
    paused: bool,
    options: OptionSet,
}

impl<'a> Given<'a> {
    pub fn read(
        changes: &'a [(OptionId, String)],
        base: &Arc<OptionSet>,
    ) -> Result<Self, RequestError> {
        let mut options = OptionSet::over(Arc::clone(base));
        let mut gid = None;
        for (id, text) in changes {
            if !id.spec().scope.has(ADD) {
                continue;
            }
            if *id == GID.id {
                gid = Some(text.as_str());
            } else {
                put(&mut options, *id, text)?;
            }
        }
        let paused = options.get(PAUSE);
        options.unset(PAUSE.id);
        Ok(Self {
            gid,
            paused,
            options,
        })
    }

    /// The download with these options.
    fn into_spec(
        self,
        uris: Box<[Arc<str>]>,
        brief: Option<Box<Brief>>,
    ) -> Result<DownloadSpec, RequestError> {
        let gid = match self.gid {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| RequestError::NoUsableUri)?),
        };
        Ok(DownloadSpec {
            gid,
            uris,
            brief,
            options: self.options,
            paused: self.paused,
            for_next: false,
        })
    }
}

fn put(options: &mut OptionSet, id: OptionId, text: &str) -> Result<(), RequestError> {
    if id.spec().scope.has(LIST) && text.contains('\n') {
        for line in text.lines().filter(|line| !line.is_empty()) {
            options.set_text(id, line)?;
        }
        return Ok(());
    }
    Ok(options.set_text(id, text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::find;

    fn accepted(uris: &[&str], options: &[(&str, &str)]) -> Result<Vec<String>, RequestError> {
        let request = AddRequest {
            source: Source::Uris(uris.iter().map(|uri| (*uri).to_owned()).collect()),
            options: options
                .iter()
                .filter_map(|(name, text)| Some((find(name)?, (*text).to_owned())))
                .collect(),
        };
        let specs = accept(request, &Arc::new(OptionSet::new()))?;
        Ok(specs[0].uris.iter().map(|uri| uri.to_string()).collect())
    }

    #[test]
    fn parameterized_uris_are_expanded_where_asked_for() {
        let uris = ["http://h/{a,b}[1-2]", "http://h/x"];
        let all = [
            "http://h/a1",
            "http://h/a2",
            "http://h/b1",
            "http://h/b2",
            "http://h/x",
        ];
        assert_eq!(accepted(&uris, &[]).unwrap(), uris);
        assert_eq!(
            accepted(&uris, &[("parameterized-uri", "true")]).unwrap(),
            all
        );
        for bad in ["http://h/{a", "http://h/[0-65535]{a,b}"] {
            let refused = accepted(&[bad], &[("parameterized-uri", "true")]);
            assert!(
                matches!(refused, Err(RequestError::BadExpansion(_))),
                "{bad}"
            );
        }
    }
}
