//! A password that is rotated under load, while the command, the agent and the server are killed.

use super::faults::{Fault, rotate};
use super::world::Rotating;
use crate::delivery::world::World;
use crate::process::Server;

/// How many rotations; `cargo xtask prove rotation` asks for 50.
const ROTATIONS: usize = 7;
const CONSUMERS: [&str; 2] = ["web", "worker"];

#[tokio::test(flavor = "multi_thread")]
async fn passwords_rotate_under_load_and_kills() {
    let rotations = std::env::var("HOLDFAST_PROVE_CREDENTIALS");
    let rotations: usize = rotations.map_or(ROTATIONS, |number| number.parse().expect("a number"));
    let mut server = Server::new().await;
    let address = format!("unix://{}", server.folder().join("server.sock").display());
    let token = server.client().token().unwrap().expose().clone();
    let world = World::at(address, &token, None).await;
    let mut rotating = Rotating::start(world, &CONSUMERS, "").await;
    let faults = Fault::all();
    let (mut done, mut rolled_back) = (0, 0);
    for round in 0..rotations {
        let fault = faults[round % faults.len()];
        let before = rotating.current().await;
        let code = rotate(&mut rotating, &mut server, fault).await;
        let after = rotating.current().await;
        let told = format!("round {round}, {fault:?}: {}", rotating.shown());
        assert_eq!(code == 3, fault.fails(), "{told}");
        match code {
            0 => {
                done += 1;
                assert!(before.0 != after.0 && before.1 != after.1, "{told}");
                assert!(!rotating.admits(&before.0, &before.1), "the old one is ended: {told}");
            }
            _ => {
                rolled_back += 1;
                assert_eq!((&before.0, &before.1), (&after.0, &after.1), "{told}");
            }
        }
        assert!(rotating.admits(&after.0, &after.1), "the secret is valid: {told}");
        assert_eq!(rotating.open_roles(), after.0, "no other role may log in: {told}");
        assert!(!rotating.is_staged().await, "{told}");
        // Nobody is left behind: whoever acknowledged is on what the secret says.
        let current = |status: &holdfast_agent::status::Status| {
            let versions = status.files.iter().flat_map(|file| &file.sources);
            status.worst().is_none()
                && versions.clone().all(|source| source.version == Some(after.2))
        };
        rotating.agent.until("all to be on what the secret says", current).await;
        assert_eq!(rotating.failed(&CONSUMERS), "", "no request failed: {told}");
    }
    let served: usize = CONSUMERS
        .iter()
        .map(|name| rotating.world.text(&format!("{name}.served")).lines().count())
        .sum();
    println!(
        "{rotations} rotations: {done} done, {rolled_back} rolled back; {served} requests, none failed"
    );
    assert!(done > 0 && rolled_back > 0 && served > rotations);
}
