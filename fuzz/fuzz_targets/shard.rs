#![no_main]

#[path = "../../crates/chunkwise/tests/hostile/shard.rs"]
mod shard;
#[path = "../src/quiet.rs"]
mod quiet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    quiet::once();
    shard::run(data);
});
