//! Whole processes that live at another time.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

/// Makes of `program` one that takes the time to be `seconds` later than it is, with all that it
/// starts from its own file. Nothing in the program is for this: the file is given a library, which lies beside
/// it, whose clock stands before the system's.
///
/// # Panics
/// There is no C compiler or no patchelf.
pub fn move_clock(program: &Path, seconds: i64) {
    let source = program.with_extension("elsewhen.c");
    let library = program.with_extension("elsewhen.so");
    let offset = program.with_extension("elsewhen.offset");
    let moved = program.with_extension("elsewhen");
    fs::write(&source, include_str!("elsewhen.c")).expect("write the clock");
    fs::write(&offset, seconds.to_ne_bytes()).expect("write the offset");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror"]);
    compiler.arg(format!("-DOFFSET_FILE=\"{}\"", offset.display()));
    compiler.arg("-o").arg(&library).arg(&source);
    run(compiler);
    // Others may have the file under another name, and run it.
    fs::copy(program, &moved).expect("copy the program");
    let mut patch = Command::new("patchelf");
    run(patch.arg("--add-needed").arg(&library).arg(&moved));
    fs::rename(&moved, program).expect("put the program in place");
}

/// Moves the clock of all running processes of a program that [`move_clock`] made to `seconds` later than
/// it is: as if the machine had slept, or somebody had set its clock.
///
/// # Panics
/// Nothing was made of the program.
pub fn set_clock(program: &Path, seconds: i64) {
    let offset = program.with_extension("elsewhen.offset");
    // In place: they have this very file mapped.
    let file = fs::File::options().write(true).open(offset).expect("open the offset");
    file.write_all_at(&seconds.to_ne_bytes(), 0).expect("write the offset");
}

fn run(mut command: impl std::borrow::BorrowMut<Command>) {
    let command = command.borrow_mut();
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
