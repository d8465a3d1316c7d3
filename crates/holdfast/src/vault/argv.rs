//! Reads arguments the way Go's `flag` package does, and writes them the way clap does.
//!
//! `-field=x`, `--field=x` and `-field x` are one flag; flags end at the first argument that is
//! none. clap knows the commands, their flags and how many arguments they take, so this module
//! holds no table of its own.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::builder::ArgAction;
use clap::{Arg, Command};
use holdfast_types::closest;

use super::output::warn;
use super::values::boolean;

/// More arguments than any command line holds.
const UNBOUNDED: usize = 1 << 32;

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// No such command, or none at all; the commands on the way to it. The help of the last one is
    /// shown.
    NoCommand { path: Vec<String>, word: Option<String> },
    /// A sentence, the same as the official client's.
    Usage(String),
}

/// `arguments` in clap's form, led by the name of `command`.
pub(crate) fn normalise(
    command: &Command,
    arguments: &[OsString],
) -> Result<Vec<OsString>, Problem> {
    let mut words = Words(Vec::new(), arguments.iter());
    words.0.push(command.get_name().into());
    let mut command = command;
    let mut path = Vec::new();
    while command.has_subcommands() {
        let mut rest = words.1.clone();
        let word = rest.next().and_then(|word| word.to_str());
        let found = word.and_then(|word| command.find_subcommand(word));
        match (word, found) {
            (_, Some(found)) => {
                words.1 = rest;
                command = found;
                path.push(found.get_name().to_owned());
                words.0.push(found.get_name().into());
            }
            (Some("-h" | "-help" | "--help"), None) => return Ok(words.with("--help")),
            (Some("-v" | "-version" | "--version"), None) if path.is_empty() => {
                return Ok(words.with("version"));
            }
            // One that does something by itself, too.
            (_, None) if command.get_arguments().next().is_some() => break,
            (word, None) => {
                let word = word.filter(|word| !word.starts_with('-')).map(str::to_owned);
                return Err(Problem::NoCommand { path, word });
            }
        }
    }
    words.flags(command)?;
    words.positionals(command)?;
    Ok(words.0)
}

impl Problem {
    /// Tells it, and gives the exit code.
    pub(crate) fn report(&self, mut command: Command) -> ExitCode {
        match self {
            Self::Usage(text) => super::report(text, 1),
            Self::NoCommand { path, word } => {
                command.build();
                let group = path.iter().try_fold(&command, |at, name| at.find_subcommand(name));
                let group = group.unwrap_or(&command);
                anstream::eprintln!("{}", group.clone().render_help().ansi());
                // Below the help, where it is seen; the official client leaves it at that.
                if let Some(word) = word {
                    let names = group.get_subcommands().map(Command::get_name);
                    let meant = closest(word, names);
                    let meant = meant.map(|name| format!("; did you mean {name:?}?"));
                    anstream::eprintln!(
                        "Error: there is no command {word:?}{}",
                        meant.unwrap_or_default()
                    );
                }
                // Of the command itself 127, of a group of commands 1, as in the official client.
                ExitCode::from(if path.is_empty() { 127 } else { 1 })
            }
        }
    }
}

/// What is written so far, and what is still to be read.
struct Words<'a>(Vec<OsString>, std::slice::Iter<'a, OsString>);

impl Words<'_> {
    fn with(mut self, word: &str) -> Vec<OsString> {
        self.0.push(word.into());
        self.0
    }

    /// Reads flags up to the first argument that is none.
    fn flags(&mut self, command: &Command) -> Result<(), Problem> {
        loop {
            let rest = self.1.as_slice();
            let Some(word) = rest.first().and_then(|word| word.to_str()) else { return Ok(()) };
            let Some(flag) = word.strip_prefix('-').filter(|flag| !flag.is_empty()) else {
                return Ok(());
            };
            self.1.next();
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            if flag.is_empty() {
                return Ok(()); // `--` ends the flags.
            }
            if flag.starts_with(['-', '=']) {
                return Err(Problem::Usage(format!("bad flag syntax: {word}")));
            }
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(OsStr::new(value))),
                None => (flag, None),
            };
            match find(command, name) {
                Some(arg) => self.flag(arg, name, value)?,
                None if matches!(name, "h" | "help") => {
                    self.0.push(if name == "h" { "-h".into() } else { "--help".into() });
                }
                None => {
                    let text = format!("flag provided but not defined: -{name}");
                    return Err(Problem::Usage(text));
                }
            }
        }
    }

    fn flag(&mut self, arg: &Arg, name: &str, value: Option<&OsStr>) -> Result<(), Problem> {
        let mut word = OsString::from("--");
        word.push(arg.get_long().unwrap_or(name));
        if takes_no_word(arg) {
            let text = value.unwrap_or(OsStr::new("true")).to_string_lossy();
            let value = boolean(&text).map_err(|cause| {
                Problem::Usage(format!("invalid boolean value {text:?} for -{name}: {cause}"))
            })?;
            if !matches!(arg.get_action(), ArgAction::SetTrue) {
                word.push(format!("={value}"));
                self.0.push(word);
            } else if value {
                self.0.push(word);
            }
            return Ok(());
        }
        let value = value.or_else(|| self.1.next().map(OsString::as_os_str));
        let Some(value) = value else {
            return Err(Problem::Usage(format!("flag needs an argument: -{name}")));
        };
        word.push("=");
        word.push(value);
        self.0.push(word);
        Ok(())
    }

    /// Checks how many arguments there are, and passes them on.
    fn positionals(&mut self, command: &Command) -> Result<(), Problem> {
        let wants_help = self.0.last().is_some_and(|word| word == "-h" || word == "--help");
        let got = self.1.len();
        let required = command.get_positionals().filter(|arg| arg.is_required_set()).count();
        let most: usize = command
            .get_positionals()
            .map(|arg| match arg.get_action() {
                ArgAction::Append => UNBOUNDED,
                _ => 1,
            })
            .sum();
        if wants_help {
            return Ok(());
        }
        let trailing = self.1.as_slice().iter().filter_map(|word| word.to_str());
        let trailing: Vec<_> = trailing.filter(|word| looks_like_flag(word)).collect();
        if !trailing.is_empty() {
            warn(&format!(
                "Command flags must be provided before positional arguments. The following \
                 arguments will not be parsed as flags: [{}]",
                trailing.join(",")
            ));
        }
        let kind = match got {
            got if got < required => "Not enough",
            got if got > most => "Too many",
            _ => {
                if got > 0 {
                    self.0.push("--".into());
                    self.0.extend(self.1.by_ref().cloned());
                }
                return Ok(());
            }
        };
        let want = match most {
            UNBOUNDED.. => format!("at least {required}"),
            most if most == required => required.to_string(),
            most => format!("{required}-{most}"),
        };
        Err(Problem::Usage(format!("{kind} arguments (expected {want}, got {got})")))
    }
}

/// Whether a person who wrote `word` behind the arguments probably meant a flag. The official
/// client says nothing of these two.
fn looks_like_flag(word: &str) -> bool {
    let name = word.trim_start_matches('-').split('=').next();
    word.starts_with('-') && word != "-" && !matches!(name, Some("format" | "detailed"))
}

/// Whether the flag is a boolean, which takes a value only by `=`.
fn takes_no_word(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue) || arg.is_require_equals_set()
}

/// The flag called `name`: by its long name, an alias, or its letter.
fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    let mut letters = name.chars();
    let letter = letters.next().filter(|_| letters.next().is_none());
    command.get_arguments().filter(|arg| !arg.is_positional()).find(|arg| {
        arg.get_long() == Some(name)
            || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
            || (letter.is_some() && arg.get_short() == letter)
    })
}

#[cfg(test)]
mod tests {
    use clap::{arg, value_parser};

    use super::*;

    fn command() -> Command {
        Command::new("bao").subcommand(Command::new("status")).subcommand(
            Command::new("kv").subcommand(
                Command::new("put")
                    .arg(arg!(--field <FIELD>))
                    .arg(arg!(-f - -force))
                    .arg(Arg::new("path").required(true))
                    .arg(arg!([data] ...).value_parser(value_parser!(String))),
            ),
        )
    }

    #[test]
    fn arguments_are_read_as_go_reads_them() {
        for (line, want) in [
            ("status", Ok("bao status")),
            ("kv put a", Ok("bao kv put -- a")),
            ("kv put -field=x a", Ok("bao kv put --field=x -- a")),
            ("kv put --field x a b=c", Ok("bao kv put --field=x -- a b=c")),
            ("kv put -f a -field=x", Ok("bao kv put --force -- a -field=x")),
            ("kv put -force=false a -", Ok("bao kv put -- a -")),
            ("kv put -- -a", Ok("bao kv put -- -a")),
            ("kv put -h", Ok("bao kv put -h")),
            ("kv -help", Ok("bao kv --help")),
            ("-v", Ok("bao version")),
            ("kv put -nope a", Err("flag provided but not defined: -nope")),
            ("kv put -field", Err("flag needs an argument: -field")),
            (
                "kv put -force=x a",
                Err("invalid boolean value \"x\" for -force: \
                 strconv.ParseBool: parsing \"x\": invalid syntax"),
            ),
            ("kv put ---a", Err("bad flag syntax: ---a")),
            ("kv put", Err("Not enough arguments (expected at least 1, got 0)")),
            ("status a", Err("Too many arguments (expected 0, got 1)")),
        ] {
            let arguments: Vec<OsString> = line.split(' ').map(Into::into).collect();
            let got = normalise(&command(), &arguments).map(|words| {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                words.join(" ")
            });
            let want = match want {
                Ok(want) => Ok(want.to_owned()),
                Err(text) => Err(Problem::Usage(text.to_owned())),
            };
            assert_eq!(got, want, "{line}");
        }
    }

    #[test]
    fn an_unknown_command_names_the_group_it_was_sought_in() {
        for (line, path, word) in [
            ("frob", &[][..], Some("frob")),
            ("kv frob", &["kv"], Some("frob")),
            ("kv", &["kv"], None),
            ("kv -frob", &["kv"], None),
        ] {
            let arguments: Vec<OsString> = line.split(' ').map(Into::into).collect();
            let path = path.iter().map(|name| (*name).to_owned()).collect();
            let want = Problem::NoCommand { path, word: word.map(str::to_owned) };
            assert_eq!(normalise(&command(), &arguments), Err(want), "{line}");
        }
    }
}
