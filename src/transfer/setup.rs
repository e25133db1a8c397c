//! What a transfer begins with: its options as typed views, its plan, its destination.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::base::error::{ErrorCode, Failure};
use crate::base::range_set::RangeSet;
use crate::base::rng::Rng;
use crate::base::units::Span;
use crate::option::OptionSet;
use crate::option::bt_settings::BtSettings;
use crate::option::keys::METALINK_ENABLE_UNIQUE_PROTOCOL;
use crate::option::settings::{DiskSettings, HttpSettings, TransferSettings};
use crate::storage::{Content, Layout, path, root_of};

use super::content_destination::ContentPlace;
use super::destination::Destination;
use super::document::FollowSettings;
use super::earlier::{self, Earlier};
use super::handle::TransferSpec;
use super::job::Job;
use super::plan::{Known, Plan, PlanSettings};
use super::retry::RetryPolicy;
use super::uri_pool::Mirror;

/// The views of one transfer's beginning.
pub struct Setup {
    pub settings: Arc<TransferSettings>,
    pub destination: Arc<Destination>,
    /// What is known of the files.
    pub content: Option<Arc<Content>>,
    pub plan: Plan,
}

impl Setup {
    /// # Errors
    /// As [`Layout::of_content`]; 1 for a torrent in a dry run, which aria2 refuses too.
    pub fn new(spec: &TransferSpec) -> Result<Self, Failure> {
        let mut settings = TransferSettings::from(&spec.options);
        let known = match &spec.job {
            Job::Known(content) => Some(content.clone()),
            Job::Uris | Job::Magnet(_) => None,
        };
        let unsized_file = known.as_ref().filter(|content| content.total.is_none());
        if let Some(content) = unsized_file {
            // The file of a Metalink that does not say its length is like any other, with a name.
            settings.out = Some(content.name.clone());
            if let Some(pieces) = &content.pieces {
                settings.piece_len = pieces.piece_len;
            }
        }
        let mut content = match known.as_ref().filter(|content| content.total.is_some()) {
            Some(content) => Some(place_of(content, &settings, &spec.options)?),
            None => None,
        };
        if settings.dry_run
            && content
                .as_ref()
                .is_some_and(|place| place.content.torrent.is_some())
        {
            let text = "a torrent has nothing to be tried out";
            return Err(Failure::fatal(ErrorCode::Unknown, text));
        }
        let identity = {
            let mut detail = spec.live.detail();
            detail.down = Some(spec.limit.down_meter().clone());
            detail.up = Some(spec.limit.up_meter().clone());
            // A path alone is where it was meant to be: what stands there may be anybody's.
            let opened = spec.live.piece_len() > 0 || detail.restored.is_some();
            if !opened {
                detail.path = None;
            }
            detail.identity.take()
        };
        for doubt in known.iter().flat_map(|known| &known.doubts) {
            tracing::warn!(gid = %spec.gid, "{doubt}");
        }
        let mut earlier = Earlier::take(spec);
        if let Some(path) = expected_path(&settings, content.as_ref()) {
            earlier.look_for_orphan(spec, &path);
        }
        if let Some(root) = earlier.follow_move() {
            settings.complete_dir = None;
            spec.live.detail().path = Some(root.to_owned());
            content = content.map(|place| earlier::below(place, root));
        }
        let settings = Arc::new(settings);
        let hashed = known.as_ref().is_some_and(|known| known.pieces.is_some());
        let of_torrent = known.as_ref().is_some_and(|known| known.torrent.is_some());
        // What peers send cannot go unchecked.
        let checked = hashed && (settings.realtime_chunk_checksum || of_torrent);
        let plan = plan_of(spec, &settings, content.as_ref(), checked);
        let destination = Destination {
            gid: spec.gid,
            settings: settings.clone(),
            disk: DiskSettings::from(&spec.options),
            uri: spec.uris.first().cloned().unwrap_or_else(|| Arc::from("")),
            prior: earlier.prior,
            identity,
            restored: earlier.restored,
            content,
            hashed,
            follow: FollowSettings::new(&spec.options, &spec.job, spec.is_torrent_file),
            memory: OnceLock::new(),
        };
        Ok(Self {
            settings,
            destination: Arc::new(destination),
            content: known,
            plan,
        })
    }
}

/// Where the files go, if that is known before a server has been asked.
fn expected_path(settings: &TransferSettings, place: Option<&ContentPlace>) -> Option<PathBuf> {
    match place {
        Some(place) => Some(place.root.clone()),
        None => Some(path::join(
            &settings.dir.to_string_lossy(),
            settings.out.as_ref()?,
        )),
    }
}

fn place_of(
    content: &Arc<Content>,
    settings: &TransferSettings,
    options: &OptionSet,
) -> Result<ContentPlace, Failure> {
    let bt = BtSettings::from(options);
    let layout = Layout::of_content(content, &settings.dir, &bt)?;
    Ok(ContentPlace {
        root: root_of(content, &layout, &settings.dir),
        layout,
        content: content.clone(),
        bt,
    })
}

fn plan_of(
    spec: &TransferSpec,
    settings: &TransferSettings,
    place: Option<&ContentPlace>,
    hashed: bool,
) -> Plan {
    let (now, rng) = (Instant::now(), Rng::from_entropy());
    let mut plan_settings = plan_settings(settings, &spec.options);
    plan_settings.hashed = hashed;
    let Some(place) = place else {
        return Plan::new(now, &spec.uris, plan_settings, rng);
    };
    plan_settings.swarm = place.content.torrent.is_some();
    // What has no torrent, or proofs besides it, comes from a Metalink.
    let of_metalink = place.content.torrent.is_none() || !place.content.proofs.is_empty();
    plan_settings.one_protocol = of_metalink && spec.options.get(METALINK_ENABLE_UNIQUE_PROTOCOL);
    let Some(total) = place.content.total else {
        return Plan::new(now, &spec.uris, plan_settings, rng);
    };
    let known = Known {
        total,
        piece_len: place.piece_len(settings.piece_len),
        wanted: wanted(&place.layout),
        padding: spans(&place.layout, |file| file.padding),
        edges_may_lack: !place.content.chosen.is_empty(),
    };
    Plan::known(
        now,
        &mirrors(spec, &place.content, &place.layout),
        known,
        plan_settings,
        rng,
    )
}

/// Mirrors of the whole download and of single files of it.
fn mirrors(spec: &TransferSpec, content: &Content, layout: &Layout) -> Vec<Mirror> {
    let whole = spec.uris.iter();
    let whole = whole.map(|uri| Mirror::new(uri.clone(), None));
    let parts = spec.web_seeds.iter();
    let parts = parts.map(|seed| Mirror::new(seed.uri.clone(), Some(layout.span_of(seed.file))));
    whole.chain(parts).chain(by_piece(content)).collect()
}

/// Those of BEP 17, as the torrent names them.
fn by_piece(content: &Content) -> impl Iterator<Item = Mirror> {
    let torrent = content.torrent.iter();
    let seeds = torrent.flat_map(|torrent| &torrent.http_seeds);
    let web = |uri: &&String| uri.starts_with("http://") || uri.starts_with("https://");
    seeds.filter(web).map(|uri| Mirror {
        by_piece: true,
        ..Mirror::new(uri.as_str().into(), None)
    })
}

/// Bytes of the selected files; `None`: of all.
fn wanted(layout: &Layout) -> Option<RangeSet> {
    let all = layout.files().iter().all(|file| file.selected);
    (!all).then(|| spans(layout, |file| file.selected))
}

fn spans(layout: &Layout, chosen: impl Fn(&crate::storage::LayoutFile) -> bool) -> RangeSet {
    layout
        .files()
        .iter()
        .enumerate()
        .filter(|(_, file)| chosen(file))
        .map(|(index, _)| layout.span_of(index))
        .filter(|span: &Span| !span.is_empty())
        .collect()
}

fn plan_settings(settings: &TransferSettings, options: &OptionSet) -> PlanSettings {
    PlanSettings {
        split: settings.split,
        per_host_max: settings.per_server_max,
        span_min: settings.split_len_min,
        selector: settings.piece_selector,
        uri_selector: settings.uri_selector,
        reuse_uri: settings.reuse_uri,
        one_protocol: false,
        retry: RetryPolicy {
            tries_max: settings.tries_max,
            wait: settings.retry_wait,
            not_found_max: settings.not_found_max.unwrap_or(0),
        },
        always_resume: settings.always_resume,
        resume_failures_max: settings.resume_failures_max.unwrap_or(0),
        dry_run: settings.dry_run,
        use_head: HttpSettings::from(options).use_head,
        save_gap_max: settings.save_interval,
        hashed: false,
        swarm: false,
        piece_len: settings.piece_len,
    }
}
