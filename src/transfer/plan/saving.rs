//! Pure: when a plan has its progress saved.

use std::time::{Duration, Instant};

use super::{Action, Plan};

/// The control file is replaced when this many bytes came in and [`SAVE_GAP_MIN`] has passed: with
/// what comes while it is being written, no more than 16 MiB are fetched again after a kill…
const SAVE_BYTES: u64 = 8 * 1024 * 1024;
const SAVE_GAP_MIN: Duration = Duration::from_millis(250);
/// …or when this has passed, whatever came in.
const SAVE_GAP_MAX: Duration = Duration::from_secs(10);

impl Plan {
    pub(super) fn save_is_due(&self, now: Instant) -> bool {
        let Some(gap_max) = self.settings.save_gap_max else {
            return false;
        };
        if self.saving || self.bytes_since_save == 0 || self.map.total().is_none() {
            return false;
        }
        let gap = now.saturating_duration_since(self.saved_at);
        gap >= gap_max.min(SAVE_GAP_MAX)
            || (gap >= SAVE_GAP_MIN && self.bytes_since_save >= SAVE_BYTES)
    }

    pub(super) fn save(&mut self) {
        self.saving = true;
        self.bytes_since_save = 0;
        self.actions.push_back(Action::Save);
    }
}
