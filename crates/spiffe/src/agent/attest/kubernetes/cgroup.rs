//! Which container a process is in, by the path of its cgroup.
//!
//! The kubelet makes a cgroup for each pod, and the container runtime one for each container in it.
//! Their names depend on the runtime and on who manages cgroups:
//!
//! - `/kubepods/burstable/pod<uid>/<id>` (cgroupfs);
//! - `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope`
//!   (systemd; `docker-`, `crio-`);
//! - `/system.slice/containerd.service/kubepods-burstable-pod<uid>.slice:cri-containerd:<id>` (containerd
//!   with cgroupfs below a kubelet with systemd);
//! - `/crio-<id>.scope`, without a pod.
//!
//! Where the agent has a cgroup namespace of its own, a path begins with `/../..`; in clusters whose
//! nodes are containers, with the node's own cgroup.

/// A container, as its cgroup is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// The pod's UID, where the path says it.
    pub(super) pod: Option<String>,
    /// 64 hexadecimal digits.
    pub(super) id: String,
}

/// The hierarchies of one process lead to different containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its cgroups are of several containers")]
pub(super) struct Ambiguous;

/// Hexadecimal digits of a container's id.
const ID: usize = 64;

impl Container {
    /// The container that the lines of `/proc/<pid>/cgroup` tell of, if they do.
    pub(super) fn of(cgroups: &str) -> Result<Option<Self>, Ambiguous> {
        let paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let mut found: Option<Self> = None;
        for container in paths.filter_map(Self::of_path) {
            match &found {
                Some(found) if *found != container => return Err(Ambiguous),
                _ => found = Some(container),
            }
        }
        Ok(found)
    }

    /// The outermost container of a path: what is inside of it has names that it may choose. For the
    /// same reason only cgroups that lead to pods may stand before: whoever has a cgroup delegated,
    /// such as every user of systemd, could make one below it that is called like a pod.
    fn of_path(path: &str) -> Option<Self> {
        let mut segments = path.split(['/', ':']).filter(|segment| !segment.is_empty());
        let pod = loop {
            let segment = segments.next()?;
            if let Some(uid) = pod_uid(segment) {
                break uid;
            }
            if let Some(id) = segment.strip_prefix("crio-").and_then(scope_id) {
                return Some(Self { pod: None, id });
            }
            if !leads_to_pods(segment) {
                return None;
            }
        };
        let mut container = segments.next()?;
        if matches!(container, "cri-containerd" | "docker" | "crio") {
            container = segments.next()?;
        }
        let prefixes = ["cri-containerd-", "docker-", "crio-"];
        let bare = prefixes.into_iter().find_map(|prefix| container.strip_prefix(prefix));
        let id = scope_id(bare.unwrap_or(container))?;
        Some(Self { pod: Some(pod), id })
    }
}

/// The UID in the name of a pod's cgroup, as the API has it: systemd's names have `_` for `-`. That of
/// a static pod is a hash, without either.
fn pod_uid(segment: &str) -> Option<String> {
    let name = segment.strip_suffix(".slice").unwrap_or(segment);
    let name = name.strip_prefix("kubelet-").unwrap_or(name);
    let name = match name.strip_prefix("kubepods-") {
        Some(class) => {
            let classes = ["burstable-", "besteffort-"];
            classes.into_iter().find_map(|prefix| class.strip_prefix(prefix)).unwrap_or(class)
        }
        None => name,
    };
    let uid = name.strip_prefix("pod")?.replace('_', "-");
    let parts: Vec<usize> = uid.split('-').map(str::len).collect();
    let is_uid = parts == [8, 4, 4, 4, 12] || parts == [32];
    (is_uid && uid.bytes().all(|byte| byte == b'-' || is_hex(byte))).then_some(uid)
}

/// What may stand before a pod's cgroup.
fn leads_to_pods(segment: &str) -> bool {
    const KNOWN: &[&str] = &[
        "..",
        "kubepods",
        "burstable",
        "besteffort",
        "kubepods.slice",
        "kubepods-burstable.slice",
        "kubepods-besteffort.slice",
        // Nodes that are containers themselves.
        "docker",
        "kubelet",
        "kubelet.slice",
        "kubelet-kubepods.slice",
        "kubelet-kubepods-burstable.slice",
        "kubelet-kubepods-besteffort.slice",
        "system.slice",
        "containerd.service",
    ];
    let node = segment.strip_prefix("docker-").unwrap_or(segment);
    KNOWN.contains(&segment) || scope_id(node).is_some()
}

/// The id in `<id>` or `<id>.scope`.
fn scope_id(segment: &str) -> Option<String> {
    let id = segment.strip_suffix(".scope").unwrap_or(segment);
    (id.len() == ID && id.bytes().all(is_hex)).then(|| id.to_owned())
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
    const ID: &str = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";
    const OTHER: &str = "aff34703e5e1f89443e9a1bffcc80f43f74d4808a2dd22c8f88c08547b323934";

    /// `UID`, `U_ID`, `ID` and `OTHER` stand for what they say.
    fn path(text: &str) -> String {
        let text = text.replace("U_ID", &UID.replace('-', "_")).replace("UID", UID);
        text.replace("OTHER", OTHER).replace("ID", ID)
    }

    #[test]
    fn containers_are_found_whatever_runs_them() {
        for text in [
            "/kubepods/burstable/podUID/ID",
            "/kubepods/besteffort/podUID/ID",
            "/kubepods/podUID/ID",
            "/kubepods/podUID/crio-ID",
            "/kubepods.slice/kubepods-podU_ID.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/docker-ID.scope",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_ID.slice/crio-ID.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/crio-ID.scope/container",
            "/system.slice/containerd.service/kubepods-besteffort-podU_ID.slice:cri-containerd:ID",
            "/kubepods-besteffort-podU_ID.slice:cri-containerd:ID",
            "/../../podUID/ID",
            "/../../kubepods-burstable-podU_ID.slice/cri-containerd-ID.scope",
            "/docker/OTHER/kubepods/besteffort/podUID/ID",
            "/docker/OTHER/kubelet/kubepods/besteffort/podUID/ID",
            "/system.slice/docker-OTHER.scope/kubelet.slice/kubelet-kubepods.slice/\
             kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-podU_ID.slice/\
             cri-containerd-ID.scope",
            "/kubepods/burstable/podUID/ID/init.scope",
            // A container cannot say that it is another one.
            "/kubepods/burstable/podUID/ID/kubepods/podffffffff-b29f-11e7-9350-020968147796/OTHER",
        ] {
            let want = Container { pod: Some(UID.to_owned()), id: ID.to_owned() };
            assert_eq!(Container::of_path(&path(text)), Some(want), "{text}");
        }
        let of_static = format!("/kubepods/burstable/pod{}/{ID}", "0a1b".repeat(8));
        assert_eq!(Container::of_path(&of_static).unwrap().pod, Some("0a1b".repeat(8)));
        let want = Container { pod: None, id: ID.to_owned() };
        assert_eq!(Container::of_path(&path("/../crio-ID.scope")), Some(want));
    }

    #[test]
    fn what_anybody_can_call_a_cgroup_is_none() {
        for text in [
            "/",
            "/system.slice/web.service",
            "/docker/ID",
            "/kubepods/burstable/podUID",
            "/kubepods/burstable/podUID/short",
            "/kubepods/burstable/podUID/crio-conmon-ID.scope",
            "/kubepods/burstable/podnonsense/ID",
            "/kubepods/burstable/podUID/ID0",
            "/user.slice/user-1000.slice/user@1000.service/kubepods/podUID/ID",
            "/../../user.slice/user-1000.slice/user@1000.service/crio-ID.scope",
            "/system.slice/web.service/kubepods/podUID/ID",
            "/kubepods-evil-podU_ID.slice/cri-containerd-ID.scope",
        ] {
            assert_eq!(Container::of_path(&path(text)), None, "{text}");
        }
    }

    #[test]
    fn hierarchies_must_agree() {
        let all = path("11:cpu:/kubepods/podUID/ID\n1:name=systemd:/kubepods/podUID/ID\n0::/\n");
        assert_eq!(Container::of(&all).unwrap().unwrap().id, ID);
        let two = path("2:cpu:/kubepods/podUID/ID\n1:name=systemd:/kubepods/podUID/OTHER\n");
        assert_eq!(Container::of(&two), Err(Ambiguous));
        assert_eq!(Container::of(""), Ok(None));
        assert_eq!(Container::of("nonsense"), Ok(None));
    }

    proptest! {
        #[test]
        fn whatever_is_found_was_there(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("kubepods".to_owned()), Just("..".to_owned()),
                    Just(format!("pod{UID}")), Just(ID.to_owned()),
                    Just(format!("crio-{OTHER}.scope")), Just("user.slice".to_owned()), ".{0,80}",
                ],
                0..8,
            ),
            text in ".*",
        ) {
            let path = format!("/{}", parts.join("/"));
            if let Some(Container { pod, id }) = Container::of_path(&path) {
                prop_assert!(path.contains(&id));
                prop_assert!(pod.is_none_or(|pod| path.replace('_', "-").contains(&pod)));
                let before = path.split(&id).next().unwrap_or_default();
                prop_assert!(!before.contains("user.slice"));
            }
            let _ = Container::of(&text);
        }
    }
}
