//! Text that makes no sense is refused, or taken for something: nothing panics on it.

use holdfast_types::{SystemRandom, Timestamp};

use super::dsn::{Dsn, Login, masked};
use super::statements::{Values, misplaced_password, render};
use super::template::{Data, Template};

/// Pieces that mean something to one of the parsers, and some that are awkward to cut.
const PIECES: [&str; 38] = [
    "{{",
    "}}",
    "{{-",
    "-}}",
    "(",
    ")",
    "|",
    " ",
    "\"",
    "`",
    "\\",
    "'",
    ".RoleName",
    ".",
    "random",
    "printf",
    "%s",
    "%.",
    "-5",
    "7",
    "ä",
    "\u{1F510}",
    "\n",
    "postgres://",
    "@",
    ":",
    "/",
    "?",
    "&",
    "=",
    "%4",
    "[",
    "]",
    ",",
    "{{password}}",
    "PASSWORD ",
    "CREATE ROLE ",
    ";",
];

/// Texts of up to 12 pieces, the same at each run.
fn texts() -> impl Iterator<Item = String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    (0..30_000).map(move |_| (0..=next(12)).map(|_| PIECES[next(PIECES.len())]).collect())
}

#[test]
fn no_text_is_too_strange() {
    let login = Login { username: "u", password: "p%", escaped: true };
    let data = Data {
        display_name: "d",
        role_name: "ä\u{1F510}",
        now: Timestamp::UNIX_EPOCH,
        random: &SystemRandom,
    };
    let (mut dsns, mut templates) = (0, 0);
    for text in texts() {
        dsns += usize::from(Dsn::parse(&text, login).is_ok());
        dsns += usize::from(Dsn::parse(&text, Login::default()).is_ok());
        if let Ok(template) = Template::parse(&text) {
            templates += usize::from(template.apply(&data).is_ok());
        }
        let _ = (masked(&text), misplaced_password(&text));
        render(&text, &Values { verifier: Some("v"), ..Values::default() });
    }
    // The pieces are such that some of it does make sense.
    assert!(dsns > 0 && templates > 0, "{dsns} {templates}");
}
