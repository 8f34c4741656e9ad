#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sekisho_tests::fuzzing::watch_and_feed(data));
