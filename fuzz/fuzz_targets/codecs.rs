#![no_main]

#[path = "../../crates/chunkwise/tests/hostile/codecs.rs"]
mod codecs;
#[path = "../src/quiet.rs"]
mod quiet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    quiet::once();
    codecs::run(data);
});
