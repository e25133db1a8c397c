//! Whatever reads what others wrote is fed with damaged samples: nothing may panic, run for ever or
//! outgrow the stack, and what was understood has to come out the same when it is written and read
//! again. Each reader has a row in `targets`; a new reader gets one.
//!
//! Everything follows from a seed. CI takes a few hundred inputs of each; `scripts/fuzz` goes on
//! as long as it is told, from another seed every time.

mod mutation;
#[allow(dead_code)]
#[path = "../rpc/server.rs"]
mod server;
mod targets;
mod wires;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use arioso::base::rng::Rng;

use mutation::Pool;
use targets::{TARGETS, Target};

/// Inputs of each reader where nobody asks for more.
const ROUNDS: u32 = 400;
/// One input takes no longer, on the slowest machine.
const INPUT_TIME_MAX: Duration = Duration::from_secs(20);

/// `FUZZ_SECONDS`, if it is set: how long to go on.
fn long() -> Option<Duration> {
    let text = std::env::var("FUZZ_SECONDS").ok()?;
    Some(Duration::from_secs(
        text.parse().expect("FUZZ_SECONDS is a number"),
    ))
}

fn seed() -> u64 {
    let text = std::env::var("FUZZ_SEED").ok();
    let given = text.map(|text| text.parse().expect("FUZZ_SEED is a number"));
    let seed = given.unwrap_or(if long().is_some() {
        Rng::from_entropy().next_u64()
    } else {
        1
    });
    println!("FUZZ_SEED={seed}");
    seed
}

/// A reader, the inputs it has understood, and chance.
struct Run<'a> {
    target: &'a Target,
    pool: Pool,
    rng: Rng,
}

impl<'a> Run<'a> {
    fn new(target: &'a Target, seed: u64) -> Self {
        Self {
            target,
            pool: Pool::new(target.samples),
            rng: Rng::seeded(seed),
        }
    }

    /// One input.
    fn step(&mut self) {
        let input = self.pool.next(&mut self.rng);
        let begun = Instant::now();
        let understood = catch_unwind(AssertUnwindSafe(|| (self.target.read)(&input)));
        let name = self.target.name;
        let Ok(understood) = understood else {
            panic!("{name}: b\"{}\"", input.escape_ascii());
        };
        let took = begun.elapsed();
        assert!(
            took < INPUT_TIME_MAX,
            "{name} took {took:?}: b\"{}\"",
            input.escape_ascii()
        );
        if understood {
            self.pool.keep(input, &mut self.rng);
        }
    }
}

#[test]
fn samples_are_understood() {
    let mut strange = Vec::new();
    for target in TARGETS {
        for sample in target.samples {
            if !(target.read)(sample) {
                strange.push(format!("{}: b\"{}\"", target.name, sample.escape_ascii()));
            }
        }
    }
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn damaged_input_is_survived() {
    let seed = seed();
    let mut runs: Vec<Run<'_>> = TARGETS.iter().map(|it| Run::new(it, seed)).collect();
    let Some(time) = long() else {
        for run in &mut runs {
            (0..ROUNDS).for_each(|_| run.step());
        }
        return;
    };
    let end = Instant::now() + time;
    let mut inputs = 0_u64;
    while Instant::now() < end {
        for run in &mut runs {
            (0..100).for_each(|_| run.step());
            inputs += 100;
        }
    }
    println!("{inputs} inputs of {} readers", runs.len());
}

#[test]
fn a_server_survives_damaged_calls() {
    wires::torment(seed(), long());
}
