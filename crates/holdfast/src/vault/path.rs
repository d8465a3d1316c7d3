//! Paths as people write them.

/// Without spaces around it, and without slashes at its ends.
pub(super) fn sanitize(path: &str) -> &str {
    path.trim().trim_matches('/')
}

/// The same with one slash at its end, as mounts are named.
pub(super) fn mount(path: &str) -> String {
    format!("{}/", sanitize(path))
}

/// `parts` joined by single slashes.
pub(super) fn join(parts: &[&str]) -> String {
    let segments = parts.iter().flat_map(|part| part.split('/'));
    segments.filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/")
}
