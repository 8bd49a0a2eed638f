#![no_main]

#[path = "../../crates/chunkwise/tests/hostile/formulas.rs"]
mod formulas;

libfuzzer_sys::fuzz_target!(|data: &[u8]| formulas::run(data));
