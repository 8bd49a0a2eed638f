#![no_main]

#[path = "../../crates/chunkwise/tests/hostile/metadata.rs"]
mod metadata;
#[path = "../src/quiet.rs"]
mod quiet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    quiet::once();
    metadata::run(data);
});
