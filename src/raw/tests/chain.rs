//! The chain without a model: with stops and deaths everywhere, and with real threads.

#[path = "chain_sim.rs"]
mod chain_sim;
#[path = "estate.rs"]
mod estate;

#[test]
fn who_stops_or_dies_anywhere_disturbs_nobody() {
    let runs = std::env::var("MULTIPROC_RUNS").map_or(3000, |runs| runs.parse().unwrap());
    let first = std::env::var("MULTIPROC_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + runs {
        let run = std::panic::catch_unwind(|| chain_sim::run(seed));
        assert!(run.is_ok(), "MULTIPROC_SEED={seed}");
    }
}
