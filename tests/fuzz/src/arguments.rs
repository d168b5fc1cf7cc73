//! The command's arguments: whatever the words, one line says what is wrong with them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use peerwren::fuzzing;

/// Lines of text, each an argument.
pub fn run(bytes: &[u8]) {
    let words: Vec<_> = std::iter::once(&b"peerwren"[..])
        .chain(bytes.split(|&byte| byte == b'\n'))
        .collect();
    let as_given = words.iter().map(|word| OsString::from_vec(word.to_vec()));
    if let Some(reason) = fuzzing::arguments(as_given.collect()) {
        is_a_line(&reason);
    }
    let as_text = words.iter().map(|word| String::from_utf8_lossy(word));
    let as_text: Vec<String> = as_text.map(|word| word.into_owned()).collect();
    if let Some(reason) = fuzzing::row(&as_text) {
        is_a_line(&reason);
    }
}

fn is_a_line(reason: &str) {
    assert!(!reason.trim().is_empty(), "no reason is told");
    assert!(!reason.contains('\n'), "more than a line: {reason}");
}
