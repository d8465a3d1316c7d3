use super::*;
use Event::*;
use Phase::*;

const KINDS: [Kind; 4] = [Kind::DualRole, Kind::SingleRole, Kind::EngineRole, Kind::Value];

/// All phases from the first to the end, where each is completed.
fn walk(kind: Kind, from: Phase, reached: Phase) -> Vec<Phase> {
    let mut way = vec![from];
    while let Next::Enter(phase) = kind.next(way[way.len() - 1], reached, Completed) {
        way.push(phase);
        assert!(way.len() < 20, "it comes to an end: {way:?}");
    }
    way
}

#[test]
fn the_way_forward_has_the_phases_of_its_kind() {
    let all = [Prepare, Alter, Write, Deliver, Acknowledge, Verify, Retire, Done];
    for (kind, left_out) in [
        (Kind::DualRole, &[][..]),
        (Kind::SingleRole, &[]),
        (Kind::EngineRole, &[Write, Retire]),
        (Kind::Value, &[Alter]),
    ] {
        let want: Vec<_> = all.iter().copied().filter(|one| !left_out.contains(one)).collect();
        assert_eq!(walk(kind, Prepare, Prepare), want, "{kind:?}");
    }
}

#[test]
fn the_way_back_undoes_what_was_done_and_no_more() {
    let whole = &[Reinstate, Restore, Inform, Invalidate, RolledBack][..];
    let of_values = &[Restore, Inform, Invalidate, RolledBack][..];
    for (kind, failed_in, want) in [
        (Kind::DualRole, Prepare, &[Invalidate, RolledBack][..]),
        (Kind::DualRole, Alter, &[Reinstate, Invalidate, RolledBack]),
        (Kind::DualRole, Write, whole),
        (Kind::DualRole, Deliver, whole),
        (Kind::DualRole, Acknowledge, whole),
        (Kind::DualRole, Verify, whole),
        (Kind::DualRole, Retire, whole),
        (Kind::SingleRole, Prepare, &[Invalidate, RolledBack]),
        (Kind::SingleRole, Alter, &[Reinstate, Invalidate, RolledBack]),
        (Kind::SingleRole, Acknowledge, whole),
        (Kind::SingleRole, Retire, whole),
        (Kind::Value, Prepare, &[Invalidate, RolledBack]),
        (Kind::Value, Write, of_values),
        (Kind::Value, Retire, of_values),
        (Kind::EngineRole, Prepare, &[Invalidate, RolledBack]),
    ] {
        for event in [Failed, GoBack] {
            let Next::Enter(first) = kind.next(failed_in, failed_in, event) else {
                panic!("{kind:?} goes back from {failed_in:?}")
            };
            assert_eq!(walk(kind, first, failed_in), want, "{kind:?} {failed_in:?}");
        }
    }
}

#[test]
fn what_cannot_go_on_is_held() {
    for kind in KINDS {
        for phase in BACK {
            assert_eq!(kind.next(phase, Retire, Failed), Next::Hold, "{kind:?} {phase:?}");
            assert_eq!(kind.next(phase, Retire, GoBack), Next::Enter(phase));
        }
        for phase in [Done, RolledBack] {
            for event in [Completed, Failed, GoBack] {
                assert_eq!(kind.next(phase, Retire, event), Next::Hold);
            }
        }
    }
    // The engine has forgotten the password before.
    for phase in [Alter, Deliver, Acknowledge, Verify] {
        assert_eq!(Kind::EngineRole.next(phase, phase, Failed), Next::Hold);
        assert_eq!(Kind::EngineRole.next(phase, phase, GoBack), Next::Hold);
    }
}
