//! The reference of the command line, made from the commands themselves.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use super::Cli;

/// What stands before the commands.
const HEAD: &str = "\
# `holdfast vault`

The command line of `vault` and `bao`. Called by one of those names the binary is that command:
`ln -s holdfast bao`. Flags are written `-flag=value`, `-flag value` or with two dashes, before the
arguments. Exit codes: 0 done, 1 the command line is wrong, 2 the server refused or did not answer
(`status`: 2 sealed).

This page is made from the program; a test keeps it so.
";

/// The page, in Markdown.
fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut page = HEAD.to_owned();
    // The same for every command that talks to a server, so written once.
    let connection = command.find_subcommand("status").into_iter().flat_map(Command::get_arguments);
    let connection = connection.filter(|arg| arg.get_help_heading() == Some("Connection"));
    page.push_str("\n## Connection\n\nEvery command that asks a server takes these.\n\n");
    connection.for_each(|arg| write_arg(&mut page, arg));
    write_commands(&mut page, &command, "");
    page
}

fn write_commands(page: &mut String, group: &Command, prefix: &str) {
    for command in group.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("{prefix}{}", command.get_name());
        // A group is only a name for its commands, unless it does something by itself, too.
        let own = command.get_arguments().any(|arg| arg.get_id() != "help");
        if command.has_subcommands() && !own {
            write_commands(page, command, &format!("{name} "));
            continue;
        }
        let arguments: String = command
            .get_positionals()
            .filter(|arg| !arg.is_hide_set())
            .map(|arg| format!(" {arg}"))
            .collect();
        let _ = write!(page, "\n## `{name}{arguments}`\n");
        let about = command.get_long_about().or(command.get_about());
        if let Some(about) = about {
            let _ = write!(page, "\n{about}\n");
        }
        let shown = |arg: &&Arg| {
            !arg.is_hide_set()
                && arg.get_id() != "help"
                && arg.get_help_heading() != Some("Connection")
        };
        let mut args = command.get_arguments().filter(shown).peekable();
        if args.peek().is_some() {
            page.push('\n');
        }
        args.for_each(|arg| write_arg(page, arg));
        if let Some(examples) = command.get_after_help() {
            let examples = examples.to_string();
            let lines =
                examples.lines().skip(1).map(|line| line.strip_prefix("  ").unwrap_or(line));
            let lines: Vec<_> = lines.collect();
            let _ = write!(page, "\n```sh\n{}\n```\n", lines.join("\n"));
        }
        write_commands(page, command, &format!("{name} "));
    }
}

fn write_arg(page: &mut String, arg: &Arg) {
    let name = match (arg.get_long(), arg.get_value_names()) {
        (None, _) => arg.to_string(),
        (Some(long), Some([value, ..])) if arg.get_num_args().is_some_and(|n| n.takes_values()) => {
            format!("-{long}={value}")
        }
        (Some(long), _) => format!("-{long}"),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(page, "- `{name}`: {}", help.replace('\n', " "));
}

#[test]
fn the_reference_says_what_the_program_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vault-commands.md");
    let page = page();
    if std::env::var_os("HOLDFAST_UPDATE").is_some() {
        std::fs::write(path, &page).expect("write the reference");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == page, "docs/vault-commands.md is out of date: HOLDFAST_UPDATE=1 writes it");
}
