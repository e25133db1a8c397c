//! Any order of requests and reports.

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
