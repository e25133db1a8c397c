//! Pure: the states of a download and the only ways from one to another.
//!
//! A request takes effect at once in what is shown and in which list the download stands, as
//! aria2's answers do: after `pause` the status reads `paused` although the transfer still has to
//! save and close its files. That rest is the state `Stopping`; the event follows when it is over,
//! so that a hook finds the files closed.

use super::event::EventKind;
use crate::base::error::{ErrorCode, Failure};
use crate::transfer::{Ended, Phase};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DownloadState {
    Waiting,
    Paused,
    Active(Phase),
    /// The transfer was told to stop and has not answered.
    Stopping(Then),
    Stopped(Outcome),
}

/// What a stopping download becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Shown as `paused`, at the front of the queue.
    Pause,
    /// Paused and unpaused again before the transfer had stopped; shown as `waiting`.
    Resume,
    /// There are fewer slots now; shown as `waiting`, at the front of the queue.
    Park,
    /// Starts again with other options; shown as `active` and keeps its slot.
    Restart,
    /// Shown as `removed`, among the results.
    Remove,
    /// Removed while seeding: everything was there, so it is shown as `complete`, as in aria2.
    Finish,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Complete,
    Removed,
    Failed(Box<Failure>),
}

/// The list a download stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListKind {
    Active,
    /// Waiting and paused ones.
    Queue,
    Stopped,
}

/// What can happen to a download.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StateInput {
    Start,
    Pause,
    Unpause,
    Park,
    Restart,
    Remove {
        force: bool,
    },
    Phase(Phase),
    Ended(Ended),
    /// The transfer ended for want of something that may come back, as space on the disk.
    Held,
}

/// The consequences of an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// `None`: the download is gone without a trace.
    pub state: Option<DownloadState>,
    pub event: Option<EventKind>,
    /// The transfer has to be told to stop.
    pub stop: bool,
}

/// The state does not allow that input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

impl Step {
    fn to(state: DownloadState) -> Self {
        Self {
            state: Some(state),
            event: None,
            stop: false,
        }
    }

    fn stopping(then: Then) -> Self {
        Self {
            stop: true,
            ..Self::to(DownloadState::Stopping(then))
        }
    }

    fn with(self, event: EventKind) -> Self {
        Self {
            event: Some(event),
            ..self
        }
    }

    const GONE: Step = Step {
        state: None,
        event: None,
        stop: false,
    };
}

impl DownloadState {
    /// The state after `input`.
    ///
    /// # Errors
    /// This state does not allow it.
    pub fn step(&self, input: &StateInput) -> Result<Step, Refused> {
        use DownloadState::{Active, Paused, Stopped, Stopping, Waiting};
        use StateInput as In;
        let step = match (self, input) {
            (Waiting, In::Start) => Step::to(Active(Phase::Opening)).with(EventKind::Started),
            (Waiting, In::Pause) => Step::to(Paused),
            (Paused, In::Unpause) => Step::to(Waiting),
            (Waiting | Paused, In::Remove { .. }) => Step::GONE,

            (Active(old), In::Phase(new)) => {
                let step = Step::to(Active(*new));
                let seeds = *new == Phase::Seeding && *old != Phase::Seeding;
                if seeds {
                    step.with(EventKind::BtComplete)
                } else {
                    step
                }
            }
            (Active(_) | Stopping(Then::Restart | Then::Resume | Then::Park), In::Pause) => {
                Step::stopping(Then::Pause)
            }
            (Active(_) | Stopping(Then::Restart), In::Park) => Step::stopping(Then::Park),
            (Active(_) | Stopping(Then::Restart), In::Restart) => Step::stopping(Then::Restart),
            (Active(Phase::Seeding), In::Remove { .. }) => Step::stopping(Then::Finish),
            (Active(_) | Stopping(Then::Restart), In::Remove { .. }) => {
                Step::stopping(Then::Remove)
            }

            (Stopping(Then::Pause), In::Unpause) => Step::to(Stopping(Then::Resume)),
            (Stopping(Then::Pause | Then::Resume | Then::Park), In::Remove { .. }) => Step {
                stop: true,
                ..Step::GONE
            },
            // The second, impatient request reaches a transfer that still says good-bye.
            (Stopping(then @ (Then::Remove | Then::Finish)), In::Remove { force: true }) => {
                Step::stopping(*then)
            }
            (Stopping(_), In::Phase(_)) => Step::to(self.clone()),

            (Stopping(Then::Remove), In::Ended(_)) => {
                Step::to(Stopped(Outcome::Removed)).with(EventKind::Stopped)
            }
            (Active(_) | Stopping(_), In::Ended(Ended::Complete))
            | (Stopping(Then::Finish), In::Ended(Ended::Stopped)) => {
                Step::to(Stopped(Outcome::Complete)).with(EventKind::Complete)
            }
            (Active(_) | Stopping(_), In::Ended(Ended::Failed(failure))) => {
                Step::to(Stopped(Outcome::Failed(Box::new(failure.clone())))).with(
                    match failure.code {
                        // A torrent that got nothing for `bt-stop-timeout`.
                        ErrorCode::Unfinished => EventKind::Stopped,
                        _ => EventKind::Failed,
                    },
                )
            }
            (
                Active(_) | Stopping(Then::Pause | Then::Resume | Then::Park | Then::Restart),
                In::Held,
            ) => Step::to(Paused).with(EventKind::Paused),
            (Stopping(Then::Pause), In::Ended(Ended::Stopped)) => {
                Step::to(Paused).with(EventKind::Paused)
            }
            (Stopping(Then::Resume), In::Ended(Ended::Stopped)) => {
                Step::to(Waiting).with(EventKind::Paused)
            }
            (Active(_) | Stopping(Then::Park | Then::Restart), In::Ended(Ended::Stopped)) => {
                Step::to(Waiting)
            }
            _ => return Err(Refused),
        };
        Ok(step)
    }

    /// aria2's status word.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Waiting | Self::Stopping(Then::Resume | Then::Park) => "waiting",
            Self::Paused | Self::Stopping(Then::Pause) => "paused",
            Self::Active(_) | Self::Stopping(Then::Restart) => "active",
            Self::Stopping(Then::Remove) | Self::Stopped(Outcome::Removed) => "removed",
            Self::Stopping(Then::Finish) | Self::Stopped(Outcome::Complete) => "complete",
            Self::Stopped(Outcome::Failed(_)) => "error",
        }
    }

    /// The list this state belongs to.
    pub fn list(&self) -> ListKind {
        match self {
            Self::Active(_) | Self::Stopping(Then::Restart) => ListKind::Active,
            Self::Waiting
            | Self::Paused
            | Self::Stopping(Then::Pause | Then::Resume | Then::Park) => ListKind::Queue,
            Self::Stopping(Then::Remove | Then::Finish) | Self::Stopped(_) => ListKind::Stopped,
        }
    }

    /// Whether the queue may start it.
    pub fn may_start(&self) -> bool {
        *self == Self::Waiting
    }

    /// Error code and text as RPC shows them; only of stopped downloads.
    pub fn error(&self) -> Option<(ErrorCode, &str)> {
        match self {
            Self::Stopping(Then::Remove) | Self::Stopped(Outcome::Removed) => {
                Some((ErrorCode::Removed, ""))
            }
            Self::Stopping(Then::Finish) | Self::Stopped(Outcome::Complete) => {
                Some((ErrorCode::Success, ""))
            }
            Self::Stopped(Outcome::Failed(failure)) => Some((failure.code, &failure.message)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the words through the machine; gives status words (`-` refused, `gone`) and events.
    fn story(inputs: &str) -> String {
        let mut state = DownloadState::Waiting;
        let mut told = Vec::new();
        for word in inputs.split(' ') {
            let input = match word {
                "start" => StateInput::Start,
                "pause" => StateInput::Pause,
                "unpause" => StateInput::Unpause,
                "park" => StateInput::Park,
                "restart" => StateInput::Restart,
                "remove" => StateInput::Remove { force: false },
                "force" => StateInput::Remove { force: true },
                "seed" => StateInput::Phase(Phase::Seeding),
                "done" => StateInput::Ended(Ended::Complete),
                "stopped" => StateInput::Ended(Ended::Stopped),
                "held" => StateInput::Held,
                "fail" => StateInput::Ended(Ended::Failed(Failure::fatal(
                    ErrorCode::Timeout,
                    "Timeout.",
                ))),
                other => panic!("no input {other}"),
            };
            let Ok(step) = state.step(&input) else {
                told.push("-".to_owned());
                continue;
            };
            let Some(next) = step.state else {
                told.push("gone".to_owned());
                break;
            };
            state = next;
            let event = step
                .event
                .map_or(String::new(), |kind| format!("!{kind:?}"));
            told.push(format!("{}{event}", state.status()));
        }
        told.join(" ")
    }

    #[test]
    fn stories_of_a_download() {
        for (inputs, told) in [
            ("start done", "active!Started complete!Complete"),
            ("start fail pause remove", "active!Started error!Failed - -"),
            ("pause pause unpause unpause", "paused - waiting -"),
            ("remove", "gone"),
            ("pause remove", "paused gone"),
            (
                "start pause stopped unpause start",
                "active!Started paused paused!Paused waiting active!Started",
            ),
            (
                "start pause unpause stopped start",
                "active!Started paused waiting waiting!Paused active!Started",
            ),
            (
                "start pause unpause pause stopped",
                "active!Started paused waiting paused paused!Paused",
            ),
            (
                "start pause done",
                "active!Started paused complete!Complete",
            ),
            ("start pause remove", "active!Started paused gone"),
            (
                "start remove remove force stopped",
                "active!Started removed - removed removed!Stopped",
            ),
            (
                "start remove done",
                "active!Started removed removed!Stopped",
            ),
            (
                "start restart stopped start",
                "active!Started active waiting active!Started",
            ),
            (
                "start restart pause stopped",
                "active!Started active paused paused!Paused",
            ),
            (
                "start park start stopped start",
                "active!Started waiting - waiting active!Started",
            ),
            (
                "start seed seed done",
                "active!Started active!BtComplete active complete!Complete",
            ),
            (
                "start seed remove remove force stopped",
                "active!Started active!BtComplete complete - complete complete!Complete",
            ),
            (
                "start seed pause stopped",
                "active!Started active!BtComplete paused paused!Paused",
            ),
            ("done", "-"),
            (
                "start held unpause start remove held",
                "active!Started paused!Paused waiting active!Started removed -",
            ),
        ] {
            assert_eq!(story(inputs), told, "{inputs}");
        }
    }
}
