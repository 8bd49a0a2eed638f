//! Panics of other crates' codecs are caught and become errors; the fuzzer's hook would end the process before that.
//! What is not caught still ends it.

use std::sync::Once;

/// Takes the fuzzer's hook away.
pub fn once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}
