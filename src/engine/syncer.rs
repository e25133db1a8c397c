//! Brings finished files to the disk before the store calls them complete, on a thread of its own.
//!
//! The download itself is told complete at once, as aria2c does; the sync of a gigabyte takes longer
//! than its download over a fast line.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tracing::warn;

use crate::base::gid::Gid;
use crate::storage::durable;

type Job = (Gid, Vec<PathBuf>);

pub(super) struct Syncer {
    /// `None` before the first file.
    jobs: Option<Sender<Job>>,
    busy: HashSet<Gid>,
    done: UnboundedReceiver<Gid>,
    done_in: UnboundedSender<Gid>,
}

impl Default for Syncer {
    fn default() -> Self {
        let (done_in, done) = mpsc::unbounded_channel();
        Self {
            jobs: None,
            busy: HashSet::new(),
            done,
            done_in,
        }
    }
}

impl Syncer {
    pub fn sync(&mut self, gid: Gid, files: Vec<PathBuf>) {
        let jobs = self.jobs.get_or_insert_with(|| {
            let (jobs, inbox) = channel();
            let done = self.done_in.clone();
            let thread = std::thread::Builder::new().name("arioso-sync".to_owned());
            // Without a thread the inbox is gone and sending fails: see below.
            let _ = thread.spawn(move || run(&inbox, &done));
            jobs
        });
        if jobs.send((gid, files)).is_ok() {
            self.busy.insert(gid);
        }
    }

    pub fn is_busy_with(&self, gid: Gid) -> bool {
        self.busy.contains(&gid)
    }

    /// The next download whose files are on the disk.
    pub async fn synced(&mut self) -> Gid {
        match self.done.recv().await {
            Some(gid) => {
                self.busy.remove(&gid);
                gid
            }
            None => std::future::pending().await,
        }
    }

    /// Waits for what is under way; gives those that are done in time.
    pub async fn finish(&mut self, limit: Duration) -> Vec<Gid> {
        let mut synced = Vec::new();
        let all = async {
            while !self.busy.is_empty() {
                let gid = self.synced().await;
                synced.push(gid);
            }
        };
        let _ = tokio::time::timeout(limit, all).await;
        synced
    }
}

fn run(jobs: &Receiver<Job>, done: &UnboundedSender<Gid>) {
    while let Ok(first) = jobs.recv() {
        let batch: Vec<Job> = std::iter::once(first).chain(jobs.try_iter()).collect();
        let paths = batch.iter().flat_map(|(_, files)| files);
        for (path, error) in durable::sync(paths.map(PathBuf::as_path)) {
            warn!(%error, path = %path.display(), "a finished file was not synced");
        }
        for (gid, _) in batch {
            // An error means that the engine has ended.
            let _ = done.send(gid);
        }
    }
}
