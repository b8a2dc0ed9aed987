//! SIGKILL at random moments: of the client, of its monitor, of both.

use crate::points::{SCENARIOS, commands};
use crate::world::{World, kill, start_quietly, words};
use crate::{number, percentiles, report};
use std::time::Duration;

/// A generator of numbers that are the same for the same seed (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let place = self.below(all.len() as u64);
        &all[usize::try_from(place).unwrap()]
    }
}

/// The direct children of a process: its monitors, among others.
fn children(pid: u32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

#[test]
fn killed_at_random_moments() {
    let world = World::new();
    let rounds = number("CORACLE_CHAOS_KILLS", 40);
    let seed = number("CORACLE_CHAOS_SEED", usize::try_from(std::process::id()).unwrap());
    report(&format!(
        "{rounds} kills at random moments, CORACLE_CHAOS_SEED={seed}"
    ));
    let mut random = Random((seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let scenarios: Vec<_> = SCENARIOS
        .iter()
        .map(|(name, scenario)| (*name, commands(&world, scenario)))
        .collect();
    // How long each command takes when nobody disturbs it.
    let mut usual: Vec<Vec<Duration>> = Vec::new();
    for (name, commands) in &scenarios {
        let times = commands.iter().map(|command| {
            let ended = world.run(command, "", None);
            assert_eq!(ended.outcome.code, 0, "{command:?}: {}", ended.outcome.stderr);
            ended.took
        });
        usual.push(times.collect());
        world.assert_clean(name);
    }
    let mut healing = Vec::new();
    for round in 0..rounds {
        let which = usize::try_from(random.below(scenarios.len() as u64)).unwrap();
        let (name, commands) = &scenarios[which];
        let position = usize::try_from(random.below(commands.len() as u64)).unwrap();
        for command in &commands[..position] {
            world.run(command, "", None).outcome.ok();
        }
        let command = &commands[position];
        let span = usual[which][position].as_micros() * 5 / 4;
        let moment = Duration::from_micros(random.below(u64::try_from(span).unwrap()));
        let victims = *random.pick(&["client", "monitor", "both"]);
        let context = format!(
            "seed {seed}, round {round}: {name}: {}: {victims} killed after {moment:?}",
            command.join(" ")
        );
        let mut client = start_quietly(world.command(command, "", None));
        std::thread::sleep(moment);
        let mut monitors = Vec::new();
        if victims != "client" {
            monitors = children(client.id());
            if monitors.is_empty() {
                monitors = world.monitors();
            }
        }
        if victims != "monitor" {
            client.kill().unwrap();
        }
        monitors.into_iter().for_each(kill);
        world.finish(client, command);
        healing.push(world.heal(&context));
        world
            .run(&words("run --rm --network none busybox true"), "", None)
            .outcome
            .ok();
        world.assert_clean(&context);
    }
    report(&format!(
        "{rounds} kills at random moments; healing: {}",
        percentiles(&mut healing)
    ));
}
