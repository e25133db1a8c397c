//! Pure: whether the registry's invariant holds.

use super::Registry;
use crate::engine::state::ListKind;

impl Registry {
    /// # Errors
    /// What of the invariant does not hold.
    pub fn check(&self) -> Result<(), String> {
        self.queue.check()?;
        let listed = self.active.len() + self.queue.len() + self.stopped.len();
        let kept = self.slots.iter().flatten().count();
        if listed != self.by_gid.len() || kept != listed {
            return Err(format!(
                "{listed} listed, {} named, {kept} kept",
                self.by_gid.len()
            ));
        }
        let lists = [
            (ListKind::Active, self.active().collect::<Vec<_>>()),
            (ListKind::Queue, self.waiting().collect()),
            (ListKind::Stopped, self.stopped().collect()),
        ];
        for (list, downloads) in lists {
            if let Some(stray) = downloads
                .iter()
                .find(|download| download.state.list() != list)
            {
                return Err(format!("{} is {:?} in {list:?}", stray.gid, stray.state));
            }
            if let Some(stray) = downloads
                .windows(2)
                .find(|pair| pair[0].order >= pair[1].order)
            {
                return Err(format!("{} is out of order in {list:?}", stray[1].gid));
            }
        }
        let ready = self
            .waiting()
            .filter(|download| download.may_start())
            .count();
        if ready != self.queue.ready_len() {
            return Err(format!(
                "{ready} may start, {} counted",
                self.queue.ready_len()
            ));
        }
        Ok(())
    }
}
