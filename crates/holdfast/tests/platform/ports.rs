//! The port at which others read the bundle: the supervisor's socket, which its server is given.

use std::fs;
use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::delivery::pid;
use crate::renewal::{served_at, subject_names};
use crate::world::{Who, World, wait_for};

#[test]
fn the_bundles_port_is_named_when_taken_and_kept_while_its_server_is_gone() {
    let world = World::embedded(Who::Caller);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    world.write_config(&format!("{}[spiffe]\nlisten = \"{address}\"\n", world.config()));
    let said = world.fail(&mut world.up_command());
    assert!(said.contains(&format!("holdfast: {address} is taken by ")), "{said}");
    assert!(said.contains(&format!("(pid {})", std::process::id())), "{said}");
    assert!(said.contains("set spiffe.listen to another port"), "{said}");
    assert_eq!(world.processes(), Vec::<i32>::new(), "nothing stays behind");
    drop(taken);

    world.up();
    let is_served = || {
        let certificate = served_at(&world, "spiffe-server", &address.to_string());
        let names = subject_names(&world, &certificate);
        assert!(names.contains("URI:spiffe://demo.local/spire/server"), "{names}");
    };
    is_served();
    let socket = listening(address.port()).expect("a socket");
    let supervisor = world.supervisor().unwrap();
    let server = pid(&world, "spiffe-server").unwrap();
    for process in [supervisor, server] {
        assert!(has_open(process, socket), "{process} has not the socket that is served");
    }
    kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
    wait_for(|| {
        assert_eq!(listening(address.port()), Some(socket), "the port was free for a moment");
        pid(&world, "spiffe-server").is_some_and(|now| now != server)
    });
    wait_for(|| world.status()["worst"].is_null());
    is_served();
    assert_eq!(listening(address.port()), Some(socket));
}

/// The inode of the socket that listens on this port of 127.0.0.1.
fn listening(port: u16) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0100007F:{port:04X}");
    let mut rows = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.get(1) == Some(&&*local) && row.get(3) == Some(&"0A"))?;
    row[9].parse().ok()
}

fn has_open(process: i32, socket: u64) -> bool {
    let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let name = format!("socket:[{socket}]");
    open.flat_map(|entry| fs::read_link(entry.path())).any(|target| target.as_os_str() == &*name)
}
