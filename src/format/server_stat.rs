//! Pure: aria2's server statistics file: one line of `key=value` pairs a host and protocol
//! (aria2 manual, "Server Performance Profile").

use std::fmt::Write as _;

/// What is known of one host and protocol.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServerStat {
    pub host: String,
    pub protocol: String,
    /// Bytes a second of the latest connection, as the three that follow.
    pub speed: u64,
    /// Average of connections that were the only ones of their download.
    pub single_average: u64,
    /// Average of those that were some of several.
    pub multi_average: u64,
    /// Seconds since 1970.
    pub last_updated: i64,
    /// Connections that contributed.
    pub counter: u64,
    /// The latest connection failed.
    pub failed: bool,
}

impl ServerStat {
    /// A connection ended after moving data at `speed`.
    pub fn record(&mut self, now: i64, speed: u64, one_of_many: bool) {
        self.counter = self.counter.saturating_add(1);
        self.last_updated = now;
        self.speed = speed;
        self.failed = false;
        let average = match one_of_many {
            true => &mut self.multi_average,
            false => &mut self.single_average,
        };
        // The latest ones count most: servers change.
        *average = match *average {
            0 => speed,
            old => old / 4 * 3 + speed / 4,
        };
    }

    /// A connection failed.
    pub fn record_failure(&mut self, now: i64) {
        self.last_updated = now;
        self.failed = true;
    }
}

/// The rows of a file; lines that lack what is needed are passed over.
pub fn parse(text: &str) -> Vec<ServerStat> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<ServerStat> {
    let mut stat = ServerStat::default();
    let (mut speed, mut updated) = (None, None);
    for pair in line.split(',') {
        let Some((key, value)) = pair.trim().split_once('=') else {
            continue;
        };
        match key {
            "host" => stat.host = value.to_owned(),
            "protocol" => stat.protocol = value.to_owned(),
            "dl_speed" => speed = Some(value.parse().ok()?),
            "sc_avg_speed" => stat.single_average = value.parse().ok()?,
            "mc_avg_speed" => stat.multi_average = value.parse().ok()?,
            "last_updated" => updated = Some(value.parse().ok()?),
            "counter" => stat.counter = value.parse().ok()?,
            "status" => stat.failed = value == "ERROR",
            _ => {}
        }
    }
    stat.speed = speed?;
    stat.last_updated = updated?;
    (!stat.host.is_empty() && !stat.protocol.is_empty()).then_some(stat)
}

/// The file of these rows.
pub fn to_text(rows: &[ServerStat]) -> String {
    let mut text = String::new();
    for row in rows {
        let status = if row.failed { "ERROR" } else { "OK" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "host={}, protocol={}, dl_speed={}, sc_avg_speed={}, mc_avg_speed={}, \
             last_updated={}, counter={}, status={status}",
            row.host,
            row.protocol,
            row.speed,
            row.single_average,
            row.multi_average,
            row.last_updated,
            row.counter
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "host=127.0.0.1, protocol=http, dl_speed=2126151, sc_avg_speed=2126151, \
                        mc_avg_speed=0, last_updated=1795217449, counter=1, status=OK\n";

    #[test]
    fn a_line_of_aria2_there_and_back() {
        let rows = parse(LINE);
        assert_eq!(rows.len(), 1);
        assert_eq!(to_text(&rows), LINE);
        let mut own = ServerStat {
            host: "127.0.0.1".to_owned(),
            protocol: "http".to_owned(),
            ..ServerStat::default()
        };
        own.record(1_795_217_449, 2_126_151, false);
        assert_eq!(rows[0], own);
        own.record_failure(5);
        own.record(6, 100, true);
        assert_eq!(
            (own.speed, own.multi_average, own.failed),
            (100, 100, false)
        );
    }

    #[test]
    fn what_is_missing_or_unknown() {
        for (line, good) in [
            ("host=h, protocol=ftp, dl_speed=1, last_updated=2", true),
            (
                "host=h, protocol=ftp, dl_speed=1, last_updated=2, new=3",
                true,
            ),
            ("host=h, protocol=ftp, last_updated=2", false),
            ("protocol=ftp, dl_speed=1, last_updated=2", false),
            ("host=h, protocol=ftp, dl_speed=x, last_updated=2", false),
            ("host=h, protocol=ftp, dl_speed=1", false),
            ("", false),
        ] {
            assert_eq!(parse(line).len(), usize::from(good), "{line}");
        }
    }
}
