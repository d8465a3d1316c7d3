use super::*;

const RULES: Rules = Rules {
    min_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(300),
    exit_on_err: false,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn life(seconds: u64, renewable: bool) -> Life {
    Life::new(seconds, renewable)
}

/// One that logged in at 0.
fn logged_in(life: Life, chance: f64) -> Lifecycle {
    let mut this = Lifecycle::new(RULES);
    assert_eq!(this.step(at(0)), Step::LogIn);
    this.logged_in(at(0), life, chance);
    this
}

#[test]
fn what_comes_after_a_login_follows_from_the_tokens_life() {
    for (life, chance, next, step) in [
        (life(3600, true), 0.0, Some(2400), Step::Renew),
        (life(3600, true), 1.0, Some(2040), Step::Renew),
        (life(3600, false), 0.0, Some(3240), Step::LogIn),
        (life(3600, false), 1.0, Some(2880), Step::LogIn),
        // However short its life, there is a pause.
        (life(1, true), 1.0, Some(1), Step::LogIn),
        (life(0, true), 0.5, None, Step::Wait(None)),
    ] {
        let this = logged_in(life, chance);
        assert_eq!(this.step(at(0)), Step::Wait(next.map(at)), "{life:?}");
        if let Some(next) = next {
            assert_eq!(this.step(at(next - 1)), Step::Wait(Some(at(next))), "{life:?}");
            assert_eq!(this.step(at(next)), step, "{life:?}");
        }
    }
}

#[test]
fn a_token_is_renewed_until_its_longest_life_comes_near() {
    let mut this = logged_in(life(3600, true), 0.0);
    assert_eq!(this.step(at(2400)), Step::Renew);
    this.renewed(at(2400), life(3600, true), 0.0);
    assert_eq!(this.step(at(2400)), Step::Wait(Some(at(4800))));
    // Rounded by the server: no reason to worry.
    this.renewed(at(4800), life(3599, true), 0.0);
    assert_eq!(this.step(at(7200)), Step::Renew);
    // Capped.
    this.renewed(at(7200), life(1800, true), 0.0);
    assert_eq!(this.expires(), Some(at(9000)));
    assert_eq!(this.step(at(7201)), Step::Wait(Some(at(8400))));
    assert_eq!(this.step(at(8400)), Step::LogIn);
    // The old token goes on being used while logins fail.
    this.login_failed(at(8400), 0.0);
    assert!(this.is_in());
    assert_eq!(this.step(at(8401)), Step::LogIn);
    this.logged_in(at(8402), life(3600, true), 0.0);
    assert_eq!(this.step(at(8402)), Step::Wait(Some(at(10802))));
}

#[test]
fn a_refused_renewal_is_followed_by_a_login_and_a_lost_one_by_another() {
    let mut this = logged_in(life(3600, true), 0.0);
    this.renewal_refused(at(2400));
    assert_eq!(this.step(at(2400)), Step::LogIn);

    let mut this = logged_in(life(3600, true), 0.0);
    assert_eq!(this.renewal_failed(at(2400), 1.0), Duration::from_secs(2));
    assert_eq!(this.step(at(2401)), Step::Wait(Some(at(2402))));
    assert_eq!(this.step(at(2402)), Step::Renew);
    for failure in 0..20 {
        this.renewal_failed(at(3000 + failure), 1.0);
    }
    // No wait reaches past the token's end.
    this.renewal_failed(at(3590), 1.0);
    assert_eq!(this.step(at(3591)), Step::Wait(Some(at(3600))));
    assert_eq!(this.step(at(3600)), Step::LogIn);
    this.login_failed(at(3600), 0.0);
    assert!(!this.is_in(), "the token has ended");
}

#[test]
fn waits_after_failures_grow_by_chance_between_their_bounds() {
    let waits = |chance: f64| {
        let mut this = Lifecycle::new(RULES);
        let wait = |_| this.login_failed(at(0), chance).unwrap().as_secs();
        (0..10).map(wait).collect::<Vec<_>>()
    };
    assert_eq!(waits(0.0), [1; 10]);
    assert_eq!(waits(1.0), [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);

    let mut this = Lifecycle::new(RULES);
    this.login_failed(at(0), 1.0);
    this.login_failed(at(0), 1.0);
    assert_eq!(this.step(at(3)), Step::Wait(Some(at(4))));
    this.logged_in(at(4), life(60, false), 0.0);
    assert_eq!(this.login_failed(at(60), 1.0), Some(Duration::from_secs(2)), "it starts over");
}

#[test]
fn whoever_wants_one_try_gets_one() {
    let mut this = Lifecycle::new(Rules { exit_on_err: true, ..RULES });
    assert_eq!(this.login_failed(at(0), 0.5), None);
    assert_eq!(this.step(at(0)), Step::GiveUp);
}

#[test]
fn a_doubt_is_settled_by_one_look_and_looks_keep_their_distance() {
    let mut this = logged_in(life(3600, true), 0.0);
    for _ in 0..100 {
        this.doubted(at(10));
    }
    assert_eq!(this.step(at(10)), Step::LookUp);
    this.looked_up(at(10), Some(true));
    assert_eq!(this.step(at(10)), Step::Wait(Some(at(2400))));
    this.doubted(at(10));
    assert_eq!(this.step(at(10)), Step::Wait(Some(at(11))));
    assert_eq!(this.step(at(11)), Step::LookUp);
    this.looked_up(at(11), None);
    assert!(this.is_in(), "no answer is no reason to throw a token away");
    this.doubted(at(20));
    this.looked_up(at(20), Some(false));
    assert!(!this.is_in());
    assert_eq!(this.step(at(20)), Step::LogIn);
}

#[test]
fn a_doubt_about_a_token_without_an_end_is_settled_too() {
    let mut this = logged_in(life(0, false), 0.0);
    this.doubted(at(5));
    assert_eq!(this.step(at(5)), Step::LookUp);
    this.looked_up(at(5), Some(false));
    assert_eq!(this.step(at(5)), Step::LogIn);
}

#[test]
fn another_credential_is_used_at_once() {
    let mut this = logged_in(life(3600, true), 0.0);
    this.credential_changed(at(100));
    assert_eq!(this.step(at(100)), Step::LogIn);
    this.passed_on();
    assert_eq!(this.step(at(200)), Step::Wait(None));
    this.credential_changed(at(200));
    assert_eq!(this.step(at(200)), Step::LogIn);
}

#[test]
fn a_machine_that_slept_logs_in_when_it_wakes() {
    let this = logged_in(life(3600, true), 0.0);
    assert_eq!(this.step(at(90_000)), Step::LogIn);
}
