//! How full a disk is, and when that is worth a word.

/// A disk has to fall this many points below a threshold before reaching it is news again.
const HYSTERESIS: u8 = 2;

/// What was last said of a disk, or is to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Less than 80 % used.
    #[default]
    Room,
    /// 80 % and more.
    Eighty,
    /// 90 % and more.
    Ninety,
}

impl Level {
    fn of(percent: u8) -> Self {
        match percent {
            ..80 => Self::Room,
            80..90 => Self::Eighty,
            90.. => Self::Ninety,
        }
    }

    /// What holds of a disk that is `percent` used, after `self` held of it. It is worth a warning
    /// where it is more than `self`.
    pub(super) fn next(self, percent: u8) -> Self {
        let not_yet_left = Self::of(percent.saturating_add(HYSTERESIS - 1));
        Self::of(percent).max(self.min(not_yet_left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The percentages at which a disk that goes through `course` is warned of.
    fn warned(course: &[u8]) -> Vec<u8> {
        let mut level = Level::default();
        let mut warned = Vec::new();
        for &percent in course {
            let next = level.next(percent);
            if next > level {
                warned.push(percent);
            }
            level = next;
        }
        warned
    }

    #[test]
    fn each_threshold_is_told_once() {
        assert_eq!(warned(&[0, 79, 80, 81, 89, 90, 91, 99, 100, 100]), [80, 90]);
        assert_eq!(warned(&[95, 100]), [95], "the higher one alone");
        assert_eq!(warned(&[0, 40, 79]), [0; 0]);
    }

    #[test]
    fn it_is_told_again_two_points_below_and_not_before() {
        assert_eq!(warned(&[80, 79, 80, 79, 81]), [80]);
        assert_eq!(warned(&[80, 78, 80]), [80, 80]);
        assert_eq!(warned(&[90, 89, 90]), [90]);
        assert_eq!(warned(&[90, 88, 90]), [90, 90]);
        assert_eq!(warned(&[95, 85, 79, 85, 91]), [95, 91], "80 was never left");
        assert_eq!(warned(&[95, 10, 85, 91]), [95, 85, 91]);
    }
}
