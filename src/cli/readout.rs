//! Pure: the progress line that is printed once a second, and the summary block.
//!
//! aria2's front ends read these: `[#988622 96KiB/292KiB(32%) CN:1 DL:97KiB ETA:2s]` for one
//! download, `[DL:195KiB][#2a9a37 96KiB/292KiB(32%)][#e74d52 ...](+3)` for several.

use super::style::{self, Color, Colors};
use crate::base::gid::Gid;

/// More downloads than this are only counted on the line.
const SHOWN_MAX: usize = 5;

/// One active download.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    pub gid: Gid,
    /// Bytes; 0 while the length is not known.
    pub total: u64,
    pub completed: u64,
    pub uploaded: u64,
    pub connections: u32,
    /// Of torrents.
    pub swarm: Option<Swarm>,
    /// Bytes a second.
    pub down_speed: u64,
    /// Bytes a second.
    pub up_speed: u64,
    /// Bytes allocated so far, while the file is allocated.
    pub allocated: Option<u64>,
    /// Bytes checked so far, while a file is verified.
    pub verified: Option<u64>,
    /// What the summary block names: see [`super::results::name`].
    pub name: String,
}

/// What torrents have besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Swarm {
    /// Seeders among the connected peers.
    pub seeders: u32,
    /// Everything is there: it only gives.
    pub seeding: bool,
}

impl Progress {
    fn is_seeding(&self) -> bool {
        self.swarm.is_some_and(|swarm| swarm.seeding)
    }

    /// Bytes given for each byte there is, to one decimal, cut not rounded.
    fn ratio(&self) -> String {
        let tenths = u128::from(self.uploaded) * 10;
        let tenths = tenths.checked_div(u128::from(self.completed)).unwrap_or(0);
        format!("{}.{}", tenths / 10, tenths % 10)
    }

    fn finished(&self) -> bool {
        self.total > 0 && self.completed >= self.total
    }

    /// Seconds left; `None` when nobody can say.
    fn seconds_left(&self) -> Option<u64> {
        let left = self.total.checked_sub(self.completed)?;
        left.checked_div(self.down_speed).filter(|left| *left > 0)
    }
}

/// How the console is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    pub colors: Colors,
    /// `human-readable`.
    pub human: bool,
}

impl Style {
    fn size(self, bytes: u64) -> String {
        style::size(bytes, self.human)
    }

    fn bracket(self, inner: &str) -> String {
        let colors = self.colors;
        format!(
            "{}{inner}{}",
            colors.paint(Color::Magenta, "["),
            colors.paint(Color::Magenta, "]")
        )
    }
}

/// The progress line for all active downloads; empty when there are none.
pub fn line(active: &[Progress], style: Style) -> String {
    let mut text = match active {
        [] => return String::new(),
        [one] => single(one, style),
        several => many(several, style),
    };
    text.push_str(&work("FileAlloc", active, |one| one.allocated, style));
    text.push_str(&work("Checksum", active, |one| one.verified, style));
    text
}

fn single(progress: &Progress, style: Style) -> String {
    let colors = style.colors;
    let mut inner = done_of_total(progress, style);
    inner.push_str(&format!(" CN:{}", progress.connections));
    if let Some(swarm) = progress.swarm {
        inner.push_str(&format!(" SD:{}", swarm.seeders));
    }
    if !progress.finished() {
        let speed = style.size(progress.down_speed);
        inner.push_str(&format!(" DL:{}", colors.paint(Color::Green, &speed)));
    }
    if progress.uploaded > 0 {
        let speed = style.size(progress.up_speed);
        let total = style.size(progress.uploaded);
        inner.push_str(&format!(
            " UL:{}({total})",
            colors.paint(Color::Cyan, &speed)
        ));
    }
    if let Some(seconds) = progress.seconds_left() {
        let left = style::duration(seconds);
        inner.push_str(&format!(" ETA:{}", colors.paint(Color::Yellow, &left)));
    }
    style.bracket(&inner)
}

fn many(active: &[Progress], style: Style) -> String {
    let down: u64 = active.iter().map(|one| one.down_speed).sum();
    let up: u64 = active.iter().map(|one| one.up_speed).sum();
    let colors = style.colors;
    let mut speeds = format!("DL:{}", colors.paint(Color::Green, &style.size(down)));
    if up > 0 {
        speeds.push_str(&format!(
            " UL:{}",
            colors.paint(Color::Cyan, &style.size(up))
        ));
    }
    let mut text = style.bracket(&speeds);
    for one in active.iter().take(SHOWN_MAX) {
        text.push_str(&style.bracket(&done_of_total(one, style)));
    }
    text.push_str(&more(active.len().saturating_sub(SHOWN_MAX)));
    text
}

fn done_of_total(progress: &Progress, style: Style) -> String {
    let share = match progress.is_seeding() {
        true => format!("SEED({})", progress.ratio()),
        false => share(progress.completed, progress.total, style),
    };
    format!("{} {share}", short_gid(progress.gid))
}

fn share(done: u64, total: u64, style: Style) -> String {
    let mut text = format!("{}/{}", style.size(done), style.size(total));
    if total > 0 {
        let percent = format!("({}%)", style::percent(done, total));
        text.push_str(&style.colors.paint(Color::Cyan, &percent));
    }
    text
}

/// ` [Checksum:#bfa905 382MiB/1.4GiB(25%)]` while a file is verified; the same for allocation.
fn work(
    word: &str,
    active: &[Progress],
    done: impl Fn(&Progress) -> Option<u64>,
    style: Style,
) -> String {
    let mut working = active
        .iter()
        .filter_map(|one| done(one).map(|done| (one, done)));
    let Some((first, done)) = working.next() else {
        return String::new();
    };
    let share = share(done, first.total, style);
    let inner = format!("{word}:{} {share}", short_gid(first.gid));
    format!(" {}{}", style.bracket(&inner), more(working.count()))
}

fn more(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!("(+{count})"),
    }
}

/// The first six digits, as the console names a download.
fn short_gid(gid: Gid) -> String {
    format!("#{:.6}", gid.to_string())
}

/// The block printed every `summary-interval` seconds: a line for each download and its file.
/// `now` is the local time in the shape of C's `ctime`.
pub fn summary(active: &[Progress], now: &str, columns: usize, human: bool) -> String {
    let style = Style {
        colors: Colors::default(),
        human,
    };
    let mut text = format!(" *** Download Progress Summary as of {now} *** \n");
    text.push_str(&"=".repeat(columns));
    text.push('\n');
    for one in active {
        text.push_str(&format!("{}\nFILE: {}\n", single(one, style), one.name));
        text.push_str(&"-".repeat(columns));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(gid: &str, completed: u64, total: u64) -> Progress {
        Progress {
            gid: gid.parse().unwrap(),
            total,
            completed,
            uploaded: 0,
            connections: 1,
            swarm: None,
            down_speed: 102_208,
            up_speed: 0,
            allocated: None,
            verified: None,
            name: "/d/a.bin".into(),
        }
    }

    const PLAIN: Style = Style {
        colors: Colors { on: false },
        human: true,
    };

    #[test]
    fn one_download() {
        let mut one = progress("c2360b0000000001", 163_840, 300_000);
        let text = line(std::slice::from_ref(&one), PLAIN);
        assert_eq!(text, "[#c2360b 160KiB/292KiB(54%) CN:1 DL:99KiB ETA:1s]");
        one.completed = 294_912;
        let text = line(std::slice::from_ref(&one), PLAIN);
        assert_eq!(text, "[#c2360b 288KiB/292KiB(98%) CN:1 DL:99KiB]");
        one.total = 0;
        let text = line(std::slice::from_ref(&one), PLAIN);
        assert_eq!(text, "[#c2360b 288KiB/0B CN:1 DL:99KiB]");
        one.total = 294_912;
        one.connections = 0;
        one.verified = Some(100_000);
        assert_eq!(
            line(&[one], PLAIN),
            "[#c2360b 288KiB/288KiB(100%) CN:0] [Checksum:#c2360b 97KiB/288KiB(33%)]"
        );
        assert_eq!(line(&[], PLAIN), "");
    }

    #[test]
    fn allocation_is_shown_beside_the_progress() {
        let mut one = progress("c2360b0000000001", 0, 300_000);
        one.down_speed = 0;
        one.allocated = Some(30_000);
        let two = Progress {
            allocated: Some(1),
            ..one.clone()
        };
        let text = line(&[one.clone(), two], PLAIN);
        assert!(
            text.ends_with("] [FileAlloc:#c2360b 29KiB/292KiB(10%)](+1)"),
            "{text}"
        );
        assert_eq!(
            line(&[one], PLAIN),
            "[#c2360b 0B/292KiB(0%) CN:1 DL:0B] [FileAlloc:#c2360b 29KiB/292KiB(10%)]"
        );
    }

    #[test]
    fn exact_numbers_and_upload() {
        let mut one = progress("c2360b0000000001", 163_840, 300_000);
        one.uploaded = 5000;
        one.up_speed = 70;
        let style = Style {
            human: false,
            ..PLAIN
        };
        assert_eq!(
            line(&[one], style),
            "[#c2360b 163840B/300000B(54%) CN:1 DL:102208B UL:70B(5000B) ETA:1s]"
        );
    }

    #[test]
    fn torrents_show_their_swarm() {
        let mut one = progress("7f736400000000ab", 163_840, 300_000);
        one.swarm = Some(Swarm {
            seeders: 3,
            seeding: false,
        });
        assert_eq!(
            line(&[one.clone()], PLAIN),
            "[#7f7364 160KiB/292KiB(54%) CN:1 SD:3 DL:99KiB ETA:1s]"
        );
        one.completed = one.total;
        (one.uploaded, one.up_speed) = (450_000, 2048);
        one.swarm = Some(Swarm {
            seeders: 0,
            seeding: true,
        });
        assert_eq!(
            line(&[one.clone()], PLAIN),
            "[#7f7364 SEED(1.5) CN:1 SD:0 UL:2.0KiB(439KiB)]"
        );
        one.uploaded = 0;
        assert_eq!(line(&[one], PLAIN), "[#7f7364 SEED(0.0) CN:1 SD:0]");
    }

    #[test]
    fn several_downloads_are_cut_to_five() {
        let all: Vec<_> = (1..=7)
            .map(|n| progress(&format!("a0000{n}0000000000"), 1024 * 100, 1024 * 200))
            .collect();
        assert_eq!(
            line(&all[..2], PLAIN),
            "[DL:199KiB][#a00001 100KiB/200KiB(50%)][#a00002 100KiB/200KiB(50%)]"
        );
        assert!(line(&all, PLAIN).ends_with("[#a00005 100KiB/200KiB(50%)](+2)"));
    }

    #[test]
    fn colours_as_aria2c() {
        let style = Style {
            colors: Colors { on: true },
            human: true,
        };
        assert_eq!(
            line(&[progress("c2360b0000000001", 163_840, 300_000)], style),
            "\x1b[35m[\x1b[0m#c2360b 160KiB/292KiB\x1b[36m(54%)\x1b[0m CN:1 \
             DL:\x1b[32m99KiB\x1b[0m ETA:\x1b[33m1s\x1b[0m\x1b[35m]\x1b[0m"
        );
    }

    #[test]
    fn summary_names_the_files() {
        let one = progress("c2360b0000000001", 163_840, 300_000);
        assert_eq!(
            summary(&[one], "Sat Nov 21 01:20:48 2026", 10, true),
            " *** Download Progress Summary as of Sat Nov 21 01:20:48 2026 *** \n\
             ==========\n\
             [#c2360b 160KiB/292KiB(54%) CN:1 DL:99KiB ETA:1s]\n\
             FILE: /d/a.bin\n\
             ----------\n"
        );
    }
}
