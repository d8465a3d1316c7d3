//! Completion at the shell's prompt, the way the official client does it: the shell runs the
//! program with the line in `COMP_LINE`, and the program prints what may stand there.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;

use super::output::print_line;

/// Prints what may follow `line`, a name to a line.
pub(crate) fn answer(command: &Command, line: &str) -> ExitCode {
    let names = candidates(command, line);
    match print_line(&names.join("\n")) {
        _ if names.is_empty() => ExitCode::SUCCESS,
        Ok(code) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Commands, or flags behind a dash, that begin as the last word of `line` does.
fn candidates(command: &Command, line: &str) -> Vec<String> {
    let (done, last) = line.rsplit_once(char::is_whitespace).unwrap_or((line, ""));
    let mut command = command.clone();
    command.build();
    let mut at = &command;
    for word in done.split_whitespace().skip(1) {
        match at.find_subcommand(word) {
            Some(found) => at = found,
            None if at.has_subcommands() => return Vec::new(),
            None => break,
        }
    }
    let mut names: Vec<String> = if last.starts_with('-') {
        let flags = at.get_arguments().filter(|arg| !arg.is_hide_set());
        flags.filter_map(|arg| Some(format!("-{}", arg.get_long()?))).collect()
    } else {
        let commands = at.get_subcommands().filter(|command| !command.is_hide_set());
        commands.map(|command| command.get_name().to_owned()).collect()
    };
    names.retain(|name| name.starts_with(last));
    names.sort();
    names
}

/// What `-autocomplete-install` and `-autocomplete-uninstall` do; `None` where neither is asked
/// for.
pub(super) fn setup(program: &str, arguments: &[OsString]) -> Option<ExitCode> {
    let flag = arguments.first()?.to_str()?.trim_start_matches('-');
    let dashes = arguments.first()?.len() - flag.len();
    let install = match flag {
        "autocomplete-install" if (1..=2).contains(&dashes) => true,
        "autocomplete-uninstall" if (1..=2).contains(&dashes) => false,
        _ => return None,
    };
    let done = std::env::current_exe().map_err(|error| error.to_string()).and_then(|binary| {
        let home = std::env::var_os("HOME").ok_or("HOME is not set")?;
        // `holdfast vault` completes as `holdfast`.
        let name = program.split(' ').next().unwrap_or(program);
        change(Path::new(&home), name, &binary, install)
    });
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            super::report(&format!("Error executing CLI: 1 error occurred:\n\t* {text}\n\n"), 1)
        }
    })
}

/// Puts completion of `name` by `binary` into the start-up files of the shells that are in use in
/// `home`, or takes it out.
fn change(home: &Path, name: &str, binary: &Path, install: bool) -> Result<(), String> {
    // In single quotes: the path is the machine's, and a shell reads the line.
    let binary = format!("'{}'", binary.display().to_string().replace('\'', "'\\''"));
    let bash = format!("complete -C {binary} {name}\n");
    let zsh = format!(
        "autoload -U +X bashcompinit && bashcompinit\ncomplete -o nospace -C {binary} {name}\n"
    );
    let fish = format!(
        "complete -f -c {name} -a '(set -lx COMP_LINE (commandline -cp); {})'\n",
        binary.replace('\'', "\\'")
    );
    let bash_files = [".bashrc", ".bash_profile", ".bash_login", ".profile"];
    let mut places: Vec<(PathBuf, String)> = bash_files
        .iter()
        .map(|file| home.join(file))
        .find(|file| file.is_file())
        .map(|file| (file, bash))
        .into_iter()
        .collect();
    let zshrc = home.join(".zshrc");
    if zshrc.is_file() {
        places.push((zshrc, zsh));
    }
    let fish_home = home.join(".config/fish");
    if fish_home.is_dir() {
        places.push((fish_home.join(format!("completions/{name}.fish")), fish));
    }
    if places.is_empty() {
        return Err("Did not find any shells to install".into());
    }
    for (file, lines) in places {
        let shown = file.display();
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(|error| format!("read {shown}: {error}"))?,
        };
        let text = match (text.contains(&lines), install) {
            (true, true) => return Err(format!("already installed in {shown}")),
            (false, false) => return Err(format!("not installed in {shown}")),
            (true, false) => text.replace(&lines, ""),
            (false, true) if text.is_empty() || text.ends_with('\n') => text + &lines,
            (false, true) => text + "\n" + &lines,
        };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(|error| format!("make {shown}: {error}"))?;
        }
        fs::write(&file, text).map_err(|error| format!("write {shown}: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::vault::Cli;

    #[test]
    fn commands_and_flags_are_completed() {
        for (line, want) in [
            ("bao kv g", &["get"][..]),
            ("bao un", &["unwrap"]),
            ("bao kv undelete -vers", &["-versions"]),
            ("bao kv get -output-", &["-output-curl-string", "-output-policy"]),
            ("bao print ", &["token"]),
            ("bao nope g", &[]),
            ("bao read secret/a", &[]),
        ] {
            assert_eq!(candidates(&Cli::command(), line), want, "{line}");
        }
    }

    #[test]
    fn what_is_installed_can_be_taken_out_again() {
        let home = tempfile::tempdir().unwrap();
        let change = |install| change(home.path(), "bao", Path::new("/opt/it's/bao"), install);
        assert_eq!(change(true), Err("Did not find any shells to install".into()));
        fs::write(home.path().join(".bashrc"), "true").unwrap();
        fs::create_dir_all(home.path().join(".config/fish")).unwrap();
        change(true).unwrap();
        let bashrc = || fs::read_to_string(home.path().join(".bashrc")).unwrap();
        assert_eq!(bashrc(), "true\ncomplete -C '/opt/it'\\''s/bao' bao\n");
        let fish = home.path().join(".config/fish/completions/bao.fish");
        assert!(fs::read_to_string(&fish).unwrap().contains("COMP_LINE"));
        assert!(change(true).unwrap_err().starts_with("already installed in "));
        change(false).unwrap();
        assert_eq!(bashrc(), "true\n");
        assert!(change(false).unwrap_err().starts_with("not installed in "));
    }
}
