//! The whole engine with scripted transfers.

mod torrents;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::broadcast::Receiver;
use tokio::sync::mpsc::UnboundedSender;

use super::embed::assemble;
use super::*;
use crate::base::error::{ErrorCode, Failure};
use crate::option::{OptionId, find};
use crate::transfer::{Control, Ended, Live, TransferSpec};

/// Transfers that end when the test says so, or at once when told to stop.
#[derive(Default)]
struct Script {
    running: HashMap<Gid, UnboundedSender<(Gid, TransferReport)>>,
    /// Every launch, in order.
    launches: Vec<(Gid, Vec<String>)>,
    controls: Vec<(Gid, String)>,
    lives: HashMap<Gid, Arc<Live>>,
    /// Transfers do not answer `Stop`.
    deaf: bool,
}

type Shared = Arc<Mutex<Script>>;

struct Scripted(Shared);
struct Actor(Gid, Shared);

impl Launcher for Scripted {
    fn launch(&mut self, launch: TransferSpec) -> Box<dyn Running> {
        let mut script = self.0.lock();
        let uris = launch.uris.iter().map(|uri| uri.to_string()).collect();
        script.launches.push((launch.gid, uris));
        script.lives.insert(launch.gid, launch.live);
        let before = script.running.insert(launch.gid, launch.reports);
        assert!(before.is_none(), "{} runs twice", launch.gid);
        Box::new(Actor(launch.gid, Arc::clone(&self.0)))
    }
}

impl Running for Actor {
    fn send(&self, control: Control) {
        let mut script = self.1.lock();
        let text = match &control {
            Control::Options(_) => "Options".to_owned(),
            other => format!("{other:?}"),
        };
        script.controls.push((self.0, text));
        if matches!(control, Control::Stop { .. } | Control::Leave { .. }) && !script.deaf {
            end(&mut script, self.0, Ended::Stopped);
        }
    }
}

fn end(script: &mut Script, gid: Gid, ended: Ended) {
    if let Some(reports) = script.running.remove(&gid) {
        let _ = reports.send((gid, TransferReport::Ended(ended)));
    }
}

struct Rig {
    handle: EngineHandle,
    script: Shared,
    events: Receiver<Event>,
    core: tokio::task::JoinHandle<crate::option::settings::EngineSettings>,
}

fn option(name: &str) -> OptionId {
    find(name).unwrap()
}

fn options(pairs: &[(&str, &str)]) -> OptionSet {
    let mut options = OptionSet::new();
    for (name, value) in pairs {
        options.set_text(option(name), value).unwrap();
    }
    options
}

fn texts(pairs: &[(&str, &str)]) -> Vec<(OptionId, String)> {
    pairs
        .iter()
        .map(|(name, value)| (option(name), (*value).to_owned()))
        .collect()
}

impl Rig {
    fn new(pairs: &[(&str, &str)]) -> Self {
        Self::with_dir(pairs, None)
    }

    fn with_dir(pairs: &[(&str, &str)], state_dir: Option<&std::path::Path>) -> Self {
        let script = Shared::default();
        let config = EngineConfig {
            options: options(pairs),
            state_dir: state_dir.map(Into::into),
        };
        let launcher = Box::new(Scripted(Arc::clone(&script)));
        let (core, handle, commands) = assemble(config, launcher, Arc::default()).unwrap();
        let events = handle.events();
        let core = tokio::spawn(core.run(commands));
        Self {
            handle,
            script,
            events,
            core,
        }
    }

    /// Adds a download with a GID of this digit.
    async fn add(&self, digit: char, pairs: &[(&str, &str)]) {
        let gid = gid(digit);
        let mut request =
            AddRequest::uris([format!("http://h/{digit}")]).with(option("gid"), gid.to_string());
        request.options.extend(texts(pairs));
        assert_eq!(self.handle.add(request, None).await, Ok(vec![gid]));
        self.check();
    }

    async fn add_all(&self, digits: &str) {
        for digit in digits.chars() {
            self.add(digit, &[]).await;
        }
    }

    fn end(&self, digit: char, ended: Ended) {
        end(&mut self.script.lock(), gid(digit), ended);
    }

    fn fail(&self, digit: char, code: ErrorCode) {
        self.end(digit, Ended::Failed(Failure::fatal(code, "text")));
    }

    /// Active, waiting and stopped digits; paused ones in brackets, results with their status.
    fn lists(&self) -> String {
        self.check();
        self.handle.read(|registry| {
            let active: String = registry.active().map(digit_of).collect();
            let waiting: String = registry
                .waiting()
                .map(|download| match download.status() {
                    "paused" => format!("({})", digit_of(download)),
                    _ => digit_of(download).to_string(),
                })
                .collect();
            let stopped: String = registry
                .stopped()
                .map(|download| format!("{}{}", digit_of(download), &download.status()[..1]))
                .collect();
            format!("{active}|{waiting}|{stopped}")
        })
    }

    fn check(&self) {
        self.handle
            .read(|registry| assert_eq!(registry.check(), Ok(())));
    }

    /// Lets the engine do what is due, then gives the events since the last call.
    async fn events(&mut self) -> String {
        settle().await;
        let mut told = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            told.push(format!("{}:{:?}", &event.gid.to_string()[..1], event.kind));
        }
        told.join(" ")
    }

    fn launched(&self) -> String {
        let script = self.script.lock();
        script
            .launches
            .iter()
            .map(|(gid, _)| gid.to_string().remove(0))
            .collect()
    }

    async fn shutdown(self) {
        self.handle.shutdown(false).await.unwrap();
        self.handle.ended().await;
        self.core.await.unwrap();
    }
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn gid(digit: char) -> Gid {
    format!("{digit}000000000000001").parse().unwrap()
}

fn digit_of(download: &Download) -> char {
    download.gid().to_string().remove(0)
}

#[tokio::test]
async fn free_slots_are_filled_in_order() {
    let mut rig = Rig::new(&[("max-concurrent-downloads", "2")]);
    rig.add('a', &[]).await;
    assert_eq!(rig.lists(), "a||", "active in the very answer");
    rig.add('b', &[("pause", "true")]).await;
    rig.add_all("cde").await;
    assert_eq!(rig.lists(), "ac|(b)de|");
    assert_eq!(rig.events().await, "a:Started c:Started");
    rig.end('a', Ended::Complete);
    assert_eq!(rig.events().await, "a:Complete d:Started");
    rig.fail('c', ErrorCode::ResourceNotFound);
    assert_eq!(rig.events().await, "c:Failed e:Started");
    assert_eq!(rig.lists(), "de|(b)|acce");
}

#[tokio::test]
async fn pause_goes_to_the_front_and_removal_of_waiting_leaves_no_trace() {
    let mut rig = Rig::new(&[("max-concurrent-downloads", "1")]);
    rig.add_all("abc").await;
    rig.handle.pause(gid('a'), false).await.unwrap();
    assert_eq!(rig.lists(), "b|(a)c|");
    assert_eq!(rig.events().await, "a:Started b:Started a:Paused");
    assert_eq!(
        rig.handle
            .pause(gid('a'), true)
            .await
            .unwrap_err()
            .to_string(),
        "GID#a000000000000001 cannot be paused now"
    );
    rig.handle.remove(gid('a'), false).await.unwrap();
    rig.handle.pause(gid('c'), false).await.unwrap();
    assert_eq!(rig.events().await, "", "nothing is told of those that wait");
    assert_eq!(rig.lists(), "b|(c)|");
    rig.handle.remove(gid('b'), false).await.unwrap();
    assert_eq!(rig.lists(), "|(c)|br");
    assert_eq!(rig.events().await, "b:Stopped");
    let error = rig.handle.read(|registry| {
        let download = registry.find("b").unwrap();
        download
            .error()
            .map(|(code, text)| (code.code(), text.to_owned()))
    });
    assert_eq!(error, Some((31, String::new())));
    assert_eq!(
        rig.handle
            .remove(gid('b'), true)
            .await
            .unwrap_err()
            .to_string(),
        "Active Download not found for GID#b000000000000001"
    );
    assert_eq!(
        rig.handle.unpause(gid('b')).await.unwrap_err().to_string(),
        "GID#b000000000000001 cannot be unpaused now"
    );
}

#[tokio::test]
async fn everything_at_once() {
    let mut rig = Rig::new(&[("max-concurrent-downloads", "3")]);
    rig.add_all("abcde").await;
    rig.handle.pause_all(false).await.unwrap();
    assert_eq!(rig.lists(), "|(c)(b)(a)(d)(e)|");
    let events = rig.events().await;
    assert_eq!(
        events,
        "a:Started b:Started c:Started a:Paused b:Paused c:Paused"
    );
    rig.handle.unpause_all().await.unwrap();
    assert_eq!(rig.events().await, "c:Started b:Started a:Started");
    assert_eq!(rig.lists(), "cba|de|");
}

#[tokio::test]
async fn a_slow_stop_shows_at_once_and_keeps_its_gid() {
    let mut rig = Rig::new(&[]);
    rig.script.lock().deaf = true;
    rig.add_all("ab").await;
    rig.handle.pause(gid('a'), false).await.unwrap();
    rig.handle.remove(gid('b'), false).await.unwrap();
    assert_eq!(rig.lists(), "|(a)|br");
    assert_eq!(rig.events().await, "a:Started b:Started");
    // Unpaused before it has stopped: it must not run twice.
    rig.handle.unpause(gid('a')).await.unwrap();
    assert_eq!(rig.lists(), "|a|br");
    rig.end('a', Ended::Stopped);
    assert_eq!(rig.events().await, "a:Paused a:Started");
    // The result is forgotten before the transfer has ended.
    rig.handle.remove_result(gid('b')).await.unwrap();
    let again = AddRequest::uris(["http://h/b"]).with(option("gid"), gid('b').to_string());
    assert_eq!(
        rig.handle.add(again.clone(), None).await,
        Err(RequestError::NoUsableUri)
    );
    rig.end('b', Ended::Stopped);
    assert_eq!(rig.events().await, "b:Stopped");
    assert_eq!(rig.handle.add(again, None).await, Ok(vec![gid('b')]));
}

#[tokio::test]
async fn positions() {
    let rig = Rig::new(&[("max-concurrent-downloads", "1")]);
    rig.add_all("abcd").await;
    let at_front = AddRequest::uris(["http://h/e"]).with(option("gid"), gid('e').to_string());
    rig.handle.add(at_front, Some(0)).await.unwrap();
    assert_eq!(rig.lists(), "a|ebcd|");
    for (digit, offset, how, place, lists) in [
        ('e', 2, How::Set, 2, "a|bced|"),
        ('e', 1, How::Current, 3, "a|bcde|"),
        ('e', -9, How::Current, 0, "a|ebcd|"),
        ('b', 0, How::End, 3, "a|ecdb|"),
    ] {
        assert_eq!(
            rig.handle.change_position(gid(digit), offset, how).await,
            Ok(place)
        );
        assert_eq!(rig.lists(), lists);
    }
    assert_eq!(
        rig.handle
            .change_position(gid('a'), 0, How::Set)
            .await
            .unwrap_err()
            .to_string(),
        "GID#a000000000000001 not found in the waiting queue."
    );
    // Enough moves to the same gap to use the order numbers up.
    for _ in 0..60 {
        rig.handle
            .change_position(gid('b'), 1, How::Set)
            .await
            .unwrap();
        rig.handle
            .change_position(gid('c'), 1, How::Set)
            .await
            .unwrap();
        rig.check();
    }
}

#[tokio::test]
async fn uris_change() {
    let rig = Rig::new(&[]);
    let request = AddRequest::uris(["http://h/1", "http://h/2", "http://h/1", "nonsense"])
        .with(option("gid"), gid('a').to_string())
        .with(option("pause"), "true");
    rig.handle.add(request, None).await.unwrap();
    let uris = || {
        rig.handle.read(|registry| {
            let download = registry.get(gid('a')).unwrap();
            let last = |uri: &Arc<str>| uri[uri.len() - 1..].to_owned();
            download.uris().iter().map(last).collect::<String>()
        })
    };
    assert_eq!(uris(), "121");
    let list = |digits: &str| {
        digits
            .chars()
            .map(|digit| format!("http://h/{digit}"))
            .collect()
    };
    for (remove, add, at, counts, after) in [
        ("1", "34", Some(1), (1, 2), "2341"),
        ("9", "x5", Some(99), (0, 2), "2341x5"),
        ("2x11", "", None, (3, 0), "345"),
    ] {
        let changed = rig
            .handle
            .change_uri(gid('a'), 1, list(remove), list(add), at)
            .await;
        assert_eq!((changed, uris().as_str()), (Ok(counts), after));
    }
    let bad = rig
        .handle
        .change_uri(gid('a'), 1, vec![], vec!["bad".to_owned()], None)
        .await;
    assert_eq!(bad, Ok((0, 0)));
    let far = rig
        .handle
        .change_uri(gid('a'), 2, vec![], vec![], None)
        .await;
    assert_eq!(far.unwrap_err().to_string(), "fileIndex is out of range");
}

#[tokio::test]
async fn options_apply_live_or_by_restart_or_not_at_all() {
    let mut rig = Rig::new(&[]);
    rig.add_all("ab").await;
    rig.events().await;
    let live = texts(&[("max-download-limit", "10K"), ("enable-rpc", "nonsense")]);
    rig.handle.change_option(gid('a'), live).await.unwrap();
    assert_eq!(rig.events().await, "");
    assert_eq!(
        rig.script.lock().controls,
        [(gid('a'), "Options".to_owned())]
    );
    let restart = texts(&[("split", "3"), ("header", "A: 1"), ("header", "B: 2")]);
    rig.handle.change_option(gid('a'), restart).await.unwrap();
    assert_eq!(rig.events().await, "a:Started", "no pause is told");
    assert_eq!(rig.lists(), "ba||");
    let shown = rig.handle.read(|registry| {
        let options = registry.get(gid('a')).unwrap().options();
        ["split", "max-download-limit", "header"].map(|name| options.text(option(name)).unwrap())
    });
    assert_eq!(shown, ["3", "10240", "A: 1\nB: 2\n"]);
    let bad = texts(&[("split", "4"), ("max-tries", "x")]);
    assert_eq!(
        rig.handle
            .change_option(gid('a'), bad)
            .await
            .unwrap_err()
            .to_string(),
        "We encountered a problem while processing the option '--max-tries'."
    );
    let split = rig.handle.read(|registry| {
        registry
            .get(gid('a'))
            .unwrap()
            .options()
            .text(option("split"))
    });
    assert_eq!(split.as_deref(), Some("3"), "all or nothing");
    rig.handle.remove(gid('a'), false).await.unwrap();
    assert_eq!(
        rig.handle
            .change_option(gid('a'), vec![])
            .await
            .unwrap_err()
            .to_string(),
        "Cannot change option for GID#a000000000000001"
    );
}

#[tokio::test]
async fn a_new_directory_shows_at_once() {
    let rig = Rig::new(&[("dir", "/old")]);
    rig.add('a', &[("out", "f"), ("pause", "true")]).await;
    let path = || {
        let look = |registry: &Registry| registry.get(gid('a')).unwrap().path();
        rig.handle.read(look)
    };
    assert_eq!(path(), "/old/f");
    rig.handle.unpause(gid('a')).await.unwrap();
    settle().await;
    let live = rig.script.lock().lives[&gid('a')].clone();
    live.detail().path = Some("/old/f.1".into());
    live.set_total(10);
    assert_eq!(path(), "/old/f.1");
    rig.handle.pause(gid('a'), false).await.unwrap();
    settle().await;
    let changes = texts(&[("dir", "/new")]);
    rig.handle.change_option(gid('a'), changes).await.unwrap();
    assert_eq!(path(), "/new/f");
    assert_eq!(rig.handle.snapshot(gid('a')).unwrap().total_len, 0);
}

/// Known-bugs 39.
#[tokio::test]
async fn fewer_slots_park_the_latest_more_start_again() {
    let mut rig = Rig::new(&[("max-concurrent-downloads", "3")]);
    rig.add_all("abcd").await;
    rig.events().await;
    let change = |count: &str| {
        rig.handle
            .change_global_option(texts(&[("max-concurrent-downloads", count)]))
    };
    change("1").await.unwrap();
    assert_eq!(rig.lists(), "a|bcd|");
    change("4").await.unwrap();
    let events = rig.events().await;
    assert_eq!(events, "b:Started c:Started d:Started");
    assert_eq!(
        (rig.lists().as_str(), rig.launched().as_str()),
        ("abcd||", "abcbcd")
    );
}

#[tokio::test]
async fn global_options_reach_later_downloads_only() {
    let rig = Rig::new(&[("split", "2")]);
    rig.add('a', &[]).await;
    rig.handle
        .change_global_option(texts(&[("split", "7"), ("gid", "x")]))
        .await
        .unwrap();
    rig.add('b', &[]).await;
    let splits = rig.handle.read(|registry| {
        registry
            .active()
            .map(|download| download.options().text(option("split")).unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(splits, ["2", "7"]);
    let bad = rig
        .handle
        .change_global_option(texts(&[("split", "0")]))
        .await;
    assert_eq!(
        bad.unwrap_err().to_string(),
        "We encountered a problem while processing the option '--split'."
    );
}

#[tokio::test]
async fn results_are_capped_and_the_exit_status_remembers_the_last_failure() {
    let mut rig = Rig::new(&[("max-download-result", "2")]);
    let exit = |rig: &Rig| rig.handle.read(Registry::exit_code).code();
    assert_eq!(exit(&rig), 0);
    rig.add_all("abcd").await;
    assert_eq!(exit(&rig), 7);
    rig.fail('a', ErrorCode::ResourceNotFound);
    rig.fail('b', ErrorCode::Timeout);
    rig.end('c', Ended::Complete);
    settle().await;
    assert_eq!(rig.lists(), "d||becc");
    assert_eq!(
        (exit(&rig), rig.handle.read(Registry::stopped_total)),
        (2, 3)
    );
    rig.handle
        .change_global_option(texts(&[("max-download-result", "0")]))
        .await
        .unwrap();
    assert_eq!(rig.lists(), "d||");
    rig.events().await;
    rig.end('d', Ended::Complete);
    assert_eq!(rig.events().await, "d:Complete");
    assert_eq!(rig.lists(), "||");
    rig.handle.purge_results().await.unwrap();
    assert_eq!(
        (exit(&rig), rig.handle.read(Registry::stopped_total)),
        (0, 4)
    );
}

#[tokio::test]
async fn gids_by_prefix() {
    let rig = Rig::new(&[("pause", "true")]);
    rig.add_all("ab").await;
    let second = AddRequest::uris(["http://h/"]).with(option("gid"), "a000000000000002");
    rig.handle.add(second, None).await.unwrap();
    let find = |text: &str| {
        rig.handle.read(|registry| match registry.find(text) {
            Ok(download) => download.gid().to_string(),
            Err(error) => error.to_string(),
        })
    };
    for (text, found) in [
        ("B", "b000000000000001"),
        ("a000000000000002", "a000000000000002"),
        ("a0", "GID a0 is not unique"),
        ("0", "GID 0 is not found"),
        ("aBc", "GID aBc is not found"),
        ("zz", "Invalid GID zz"),
        ("", "Invalid GID "),
        ("00000000000000000", "Invalid GID 00000000000000000"),
    ] {
        assert_eq!(find(text), found);
    }
}

#[tokio::test]
async fn what_cannot_be_added() {
    let rig = Rig::new(&[]);
    rig.add('a', &[("pause", "true")]).await;
    let usable = "http://h/f";
    for (uris, pairs, text) in [
        (&[][..], &[][..], "URI is not provided."),
        (&["f"], &[], "No URI to download."),
        (&["magnet:?xt=urn:btih:00"], &[], "No URI to download."),
        (
            &[usable],
            &[("gid", "a000000000000001")],
            "No URI to download.",
        ),
        (&[usable], &[("gid", "a")], "No URI to download."),
        (
            &[usable],
            &[("gid", "0000000000000000")],
            "No URI to download.",
        ),
        (
            &[usable],
            &[("gid", "a"), ("split", "x")],
            "We encountered a problem while processing the option '--split'.",
        ),
    ] {
        let mut request = AddRequest::uris(uris.iter().copied());
        request.options = texts(pairs);
        let error = rig.handle.add(request, None).await.unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    // What is not for one download is not even looked at.
    let request = AddRequest::uris([usable]).with(option("enable-rpc"), "nonsense");
    assert_eq!(rig.handle.add(request, None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn shutdown_saves_active_ones_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("session");
    let path = file.to_str().unwrap().to_owned();
    let mut rig = Rig::new(&[
        ("save-session", &path),
        ("max-concurrent-downloads", "1"),
        ("dir", "/dl"),
    ]);
    rig.add('f', &[("split", "2")]).await;
    rig.fail('f', ErrorCode::Timeout);
    settle().await;
    rig.add('c', &[]).await;
    rig.end('c', Ended::Complete);
    settle().await;
    rig.add('a', &[("header", "A: 1"), ("header", "B: 2")])
        .await;
    rig.add('b', &[]).await;
    rig.add('d', &[("pause", "true")]).await;
    rig.handle.save_session().await.unwrap();
    let saved = std::fs::read_to_string(&file).unwrap();
    rig.events().await;
    let handle = rig.handle.clone();
    let mut events = handle.events();
    rig.shutdown().await;
    assert_eq!(
        events.try_recv().map(|event| event.kind),
        Ok(EventKind::Interrupted)
    );
    assert_eq!(
        handle.add(AddRequest::uris(["http://h/"]), None).await,
        Err(RequestError::ShutDown)
    );
    assert_eq!(handle.read(Registry::exit_code), ErrorCode::Timeout);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), saved);
    let expected = "\
http://h/f\t
 gid=f000000000000001
 dir=/dl
 split=2
http://h/a\t
 gid=a000000000000001
 dir=/dl
 header=A: 1
 header=B: 2
http://h/b\t
 gid=b000000000000001
 dir=/dl
http://h/d\t
 gid=d000000000000001
 pause=true
 dir=/dl
"
    .to_owned();
    assert_eq!(saved, expected);
}

/// A failure that is no result any more is still named by session files, and its GID is free.
#[tokio::test]
async fn a_session_file_has_each_gid_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("session");
    let path = file.to_str().unwrap().to_owned();
    let rig = Rig::new(&[("save-session", &path), ("max-download-result", "0")]);
    rig.add('a', &[]).await;
    rig.fail('a', ErrorCode::Timeout);
    settle().await;
    assert_eq!(rig.lists(), "||");
    let count = || {
        let saved = std::fs::read_to_string(&file).unwrap();
        saved.matches("gid=a000000000000001").count()
    };
    rig.handle.save_session().await.unwrap();
    assert_eq!(count(), 1);
    rig.add('a', &[]).await;
    rig.handle.save_session().await.unwrap();
    assert_eq!(count(), 1);
}

#[tokio::test]
async fn who_pauses_a_download_that_has_run_out_of_space_is_heeded() {
    let dir = tempfile::tempdir().unwrap();
    let full = Failure::fatal(ErrorCode::DiskFull, "text");
    let pairs = [("retry-on-disk-full", "true"), ("file-allocation", "none")];
    let mut rig = Rig::with_dir(&pairs, Some(dir.path()));
    rig.script.lock().deaf = true;
    rig.add('a', &[]).await;
    rig.handle.pause(gid('a'), false).await.unwrap();
    rig.end('a', Ended::Failed(full));
    assert_eq!(rig.events().await, "a:Started a:Paused");
    let is_held = |registry: &Registry| registry.get(gid('a')).unwrap().held().is_some();
    assert!(!rig.handle.read(is_held));
    rig.shutdown().await;
    // The next process does not begin it either.
    let rig = Rig::with_dir(&pairs, Some(dir.path()));
    settle().await;
    assert_eq!(rig.lists(), "|(a)|");
    rig.shutdown().await;
}

#[tokio::test]
async fn session_without_file_or_store() {
    let rig = Rig::new(&[]);
    assert_eq!(
        rig.handle.save_session().await.unwrap_err().to_string(),
        "Filename is not given."
    );
}

#[tokio::test]
async fn a_transfer_that_does_not_stop_does_not_hold_up_the_end_for_long() {
    let rig = Rig::new(&[]);
    rig.script.lock().deaf = true;
    rig.add('a', &[]).await;
    let begin = std::time::Instant::now();
    rig.handle.shutdown(false).await.unwrap();
    rig.handle.shutdown(true).await.unwrap();
    rig.handle.ended().await;
    assert!(begin.elapsed() < CLOSE_FORCED_MAX + Duration::from_secs(5));
}

#[tokio::test]
async fn the_next_process_has_everything_again() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [("max-concurrent-downloads", "2"), ("dir", "/dl")];
    let mut rig = Rig::with_dir(&pairs, Some(dir.path()));
    rig.add_all("ab").await;
    rig.add('c', &[("split", "9"), ("out", "x.bin")]).await;
    rig.add('d', &[("pause", "true")]).await;
    rig.add_all("ef").await;
    rig.handle
        .change_position(gid('f'), 0, How::Set)
        .await
        .unwrap();
    rig.fail('a', ErrorCode::Timeout);
    settle().await;
    rig.end('b', Ended::Complete);
    settle().await;
    assert_eq!(rig.lists(), "fc|(d)e|aebc");
    let live = rig.script.lock().lives[&gid('c')].clone();
    live.set_total(1000);
    live.set_completed(300);
    rig.handle.pause(gid('c'), false).await.unwrap();
    rig.events().await;
    rig.handle.remove_result(gid('b')).await.unwrap();
    assert_eq!(rig.lists(), "fe|(c)(d)|ae");
    rig.shutdown().await;

    let mut rig = Rig::with_dir(&pairs, Some(dir.path()));
    settle().await;
    assert_eq!(rig.lists(), "fe|(c)(d)|ae");
    assert_eq!(rig.events().await, "f:Started e:Started");
    rig.handle.read(|registry| {
        let paused = registry.get(gid('c')).unwrap();
        assert_eq!((paused.total_len(), paused.completed_len()), (1000, 300));
        assert_eq!(paused.options().text(option("split")).as_deref(), Some("9"));
        assert_eq!(paused.files()[0].path, "/dl/x.bin");
        let own: Vec<_> = paused.options().own().map(|(id, _)| id.name()).collect();
        assert_eq!(
            own,
            ["split", "out"],
            "what the process says is not repeated"
        );
        let failed = registry.get(gid('a')).unwrap();
        assert_eq!(failed.error(), Some((ErrorCode::Timeout, "text")));
    });
    assert!(rig.handle.knows(gid('c')) && rig.handle.knows(gid('a')));
    rig.shutdown().await;
}

#[tokio::test]
async fn skipping_in_a_long_queue_and_many_paused_in_front() {
    let rig = Rig::new(&[("max-concurrent-downloads", "1")]);
    for number in 1..=2000u64 {
        let request = AddRequest::uris(["http://h/f"])
            .with(option("gid"), format!("{number:016x}"))
            .with(
                option("pause"),
                if number < 2000 { "true" } else { "false" },
            );
        rig.handle.add(request, None).await.unwrap();
    }
    rig.handle.read(|registry| {
        assert_eq!(
            (registry.counts().active, registry.counts().waiting),
            (1, 1999)
        );
        let page: Vec<u64> = registry
            .waiting()
            .skip(1000)
            .take(2)
            .map(|download| download.gid().value())
            .collect();
        assert_eq!(page, [1001, 1002]);
        let back: Vec<u64> = registry
            .waiting()
            .rev()
            .skip(5)
            .take(2)
            .map(|download| download.gid().value())
            .collect();
        assert_eq!(back, [1994, 1993]);
    });
    rig.check();
}

mod random {
    use super::*;
    use crate::base::rng::Rng;

    /// Any order of requests and reports keeps every download in exactly one list.
    #[tokio::test]
    async fn commands_never_lose_or_double_a_download() {
        for seed in 0..40 {
            let mut rng = Rng::seeded(seed);
            let mut rig = Rig::new(&[
                ("max-concurrent-downloads", "3"),
                ("max-download-result", "4"),
            ]);
            rig.script.lock().deaf = rng.chance(0.5);
            let digits: Vec<char> = "123456789abcdef".chars().collect();
            for _ in 0..150 {
                let digit = digits[rng.below(15) as usize];
                let (gid, handle) = (gid(digit), rig.handle.clone());
                // Refusals are part of the game.
                let _ = match rng.below(14) {
                    0..=2 => {
                        let request = AddRequest::uris(["http://h/f"])
                            .with(option("gid"), gid.to_string())
                            .with(
                                option("pause"),
                                if rng.chance(0.3) { "true" } else { "false" },
                            );
                        handle
                            .add(request, Some(rng.below(5) as usize))
                            .await
                            .map(drop)
                    }
                    3 => handle.pause(gid, false).await,
                    4 => handle.unpause(gid).await,
                    5 => handle.remove(gid, rng.chance(0.5)).await,
                    6 => handle.remove_result(gid).await,
                    7 => handle.change_option(gid, texts(&[("split", "2")])).await,
                    8 => {
                        let count = (1 + rng.below(4)).to_string();
                        handle
                            .change_global_option(texts(&[("max-concurrent-downloads", &count)]))
                            .await
                    }
                    9 => handle.change_position(gid, 1, How::Current).await.map(drop),
                    10 if rng.chance(0.2) => handle.pause_all(true).await,
                    10 => handle.unpause_all().await,
                    11 => {
                        rig.end(digit, Ended::Complete);
                        Ok(())
                    }
                    12 => {
                        rig.fail(digit, ErrorCode::Timeout);
                        Ok(())
                    }
                    _ => {
                        rig.end(digit, Ended::Stopped);
                        Ok(())
                    }
                };
                rig.check();
                if rng.chance(0.5) {
                    settle().await;
                    let running = rig.script.lock().running.len();
                    let counts = *rig.handle.counts().borrow();
                    assert!(running >= counts.active, "SEED={seed}");
                    assert!(counts.active <= 4, "SEED={seed}");
                }
            }
            rig.events().await;
        }
    }
}
