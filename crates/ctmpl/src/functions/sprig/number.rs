//! Arithmetic. Integers wrap around as Go's do.

use super::convert::{float, int64, integer};
use crate::Value;
use crate::error::Fault;
use crate::functions::Function;
use crate::functions::Parameter::{Any, Float, Int};
use crate::run::Run;
use crate::value::Type;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("sprig_add", &[], |_, arguments| {
        Ok(int64(arguments.iter().map(integer).fold(0, i64::wrapping_add)))
    })
    .rest(Any),
    Function::derives("sprig_add1", &[Any], |_, arguments| {
        Ok(int64(integer(&arguments[0]).wrapping_add(1)))
    }),
    Function::derives("sprig_sub", &[Any, Any], |_, arguments| {
        Ok(int64(integer(&arguments[0]).wrapping_sub(integer(&arguments[1]))))
    }),
    Function::derives("sprig_mul", &[Any], |_, arguments| {
        Ok(int64(arguments.iter().map(integer).fold(1, i64::wrapping_mul)))
    })
    .rest(Any),
    Function::derives("sprig_div", &[Any, Any], |_, arguments| {
        divided(arguments, i64::wrapping_div)
    }),
    Function::derives("sprig_mod", &[Any, Any], |_, arguments| {
        divided(arguments, i64::wrapping_rem)
    }),
    Function::derives("sprig_add1f", &[Any], |_, arguments| {
        Ok(Value::float(decimal(float(&arguments[0]), 1.0, Decimal::plus, |a, b| a + b)))
    }),
    Function::derives("sprig_addf", &[], |_, arguments| {
        let sum = |sum, next| decimal(sum, next, Decimal::plus, |a, b| a + b);
        Ok(Value::float(arguments.iter().map(float).fold(0.0, sum)))
    })
    .rest(Any),
    Function::derives("sprig_subf", &[Any], |_, arguments| {
        folded(arguments, Decimal::minus, |a, b| a - b)
    })
    .rest(Any),
    Function::derives("sprig_mulf", &[Any], |_, arguments| {
        folded(arguments, Decimal::times, |a, b| a * b)
    })
    .rest(Any),
    Function::derives("sprig_divf", &[Any], |_, arguments| {
        if arguments[1..].iter().any(|value| float(value) == 0.0) {
            return Err(Fault::new("decimal division by 0"));
        }
        folded(arguments, Decimal::over, |a, b| a / b)
    })
    .rest(Any),
    Function::derives("sprig_max", &[Any], |_, arguments| {
        Ok(int64(arguments.iter().map(integer).max().unwrap_or(0)))
    })
    .rest(Any),
    Function::derives("sprig_biggest", &[Any], |_, arguments| {
        Ok(int64(arguments.iter().map(integer).max().unwrap_or(0)))
    })
    .rest(Any),
    Function::derives("sprig_min", &[Any], |_, arguments| {
        Ok(int64(arguments.iter().map(integer).min().unwrap_or(0)))
    })
    .rest(Any),
    Function::derives("sprig_maxf", &[Any], |_, arguments| {
        Ok(Value::float(arguments.iter().map(float).fold(f64::NEG_INFINITY, f64::max)))
    })
    .rest(Any),
    Function::derives("sprig_minf", &[Any], |_, arguments| {
        Ok(Value::float(arguments.iter().map(float).fold(f64::INFINITY, f64::min)))
    })
    .rest(Any),
    Function::derives("sprig_ceil", &[Any], |_, arguments| {
        Ok(Value::float(float(&arguments[0]).ceil()))
    }),
    Function::derives("sprig_floor", &[Any], |_, arguments| {
        Ok(Value::float(float(&arguments[0]).floor()))
    }),
    Function::derives("sprig_round", &[Any, Int], round).rest(Float),
    Function::derives("sprig_until", &[Int], |run, arguments| {
        let count = arguments[0].integer();
        series(run, 0, count, if count < 0 { -1 } else { 1 }).map(integers)
    }),
    Function::derives("sprig_untilStep", &[Int, Int, Int], |run, arguments| {
        let [start, stop, step] = [0, 1, 2].map(|index| arguments[index].integer());
        series(run, start, stop, step).map(integers)
    }),
    Function::derives("sprig_seq", &[], sequence).rest(Int),
];

fn integers(values: Vec<i64>) -> Value {
    Value::list_of(Type::Int, values.into_iter().map(Value::int).collect())
}

fn divided(arguments: &[Value], operation: fn(i64, i64) -> i64) -> Result<Value, Fault> {
    let (left, right) = (integer(&arguments[0]), integer(&arguments[1]));
    if right == 0 {
        return Err(Fault::new("runtime error: integer divide by zero"));
    }
    Ok(int64(operation(left, right)))
}

/// An operation of decimals; `None` where the result has too many digits.
type Exact = fn(Decimal, Decimal) -> Option<Decimal>;

fn folded(arguments: &[Value], exact: Exact, plain: fn(f64, f64) -> f64) -> Result<Value, Fault> {
    let (first, others) =
        arguments.split_first().ok_or_else(|| Fault::new("wrong number of arguments"))?;
    let result =
        others.iter().fold(float(first), |result, next| decimal(result, float(next), exact, plain));
    Ok(Value::float(result))
}

/// The result of decimal arithmetic, in which 0.1 + 0.2 is 0.3; of floats where that does not fit.
fn decimal(left: f64, right: f64, exact: Exact, plain: fn(f64, f64) -> f64) -> f64 {
    Decimal::of(left)
        .zip(Decimal::of(right))
        .and_then(|(left, right)| exact(left, right))
        .map_or_else(|| plain(left, right), Decimal::float)
}

/// `digits * 10^exponent`
#[derive(Clone, Copy)]
struct Decimal {
    digits: i128,
    exponent: i32,
}

impl Decimal {
    /// The decimal number that a float is written as.
    fn of(value: f64) -> Option<Self> {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}").parse().ok()?;
        let exponent: i32 = exponent.parse().ok()?;
        Some(Self { digits, exponent: exponent - i32::try_from(fraction.len()).ok()? })
    }

    fn float(self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(f64::NAN)
    }

    /// The same number with a smaller exponent.
    fn at(self, exponent: i32) -> Option<i128> {
        let shift = u32::try_from(self.exponent - exponent).ok()?;
        self.digits.checked_mul(10_i128.checked_pow(shift)?)
    }

    fn plus(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let digits = self.at(exponent)?.checked_add(other.at(exponent)?)?;
        Some(Self { digits, exponent })
    }

    fn minus(self, other: Self) -> Option<Self> {
        self.plus(Self { digits: -other.digits, ..other })
    }

    fn times(self, other: Self) -> Option<Self> {
        let digits = self.digits.checked_mul(other.digits)?;
        Some(Self { digits, exponent: self.exponent + other.exponent })
    }

    /// To sixteen digits behind the point, rounded.
    fn over(self, other: Self) -> Option<Self> {
        const PLACES: i32 = 16;
        let shift = u32::try_from(self.exponent - other.exponent + PLACES).ok()?;
        let dividend = self.digits.checked_mul(10_i128.checked_pow(shift)?)?;
        let (quotient, rest) =
            (dividend.checked_div(other.digits)?, dividend.checked_rem(other.digits)?);
        let up = rest.checked_abs()?.checked_mul(2)? >= other.digits.checked_abs()?;
        let sign = if (dividend < 0) == (other.digits < 0) { 1 } else { -1 };
        Some(Self { digits: quotient + if up { sign } else { 0 }, exponent: -PLACES })
    }
}

fn round(_: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let on = arguments.get(2).map_or(0.5, float);
    let places = i32::try_from(arguments[1].integer()).unwrap_or(i32::MAX);
    let power = 10_f64.powi(places);
    let digit = power * float(&arguments[0]);
    let rounded = if digit - digit.trunc() >= on { digit.ceil() } else { digit.floor() };
    Ok(Value::float(rounded / power))
}

/// The integers from `start` up (or down) to `stop`, not included.
fn series(run: &mut Run<'_>, start: i64, stop: i64, step: i64) -> Result<Vec<i64>, Fault> {
    let mut values = Vec::new();
    if (stop < start && step >= 0) || (stop >= start && step <= 0) {
        return Ok(values);
    }
    let mut next = start;
    while if step > 0 { next < stop } else { next > stop } {
        run.budget.charge(4)?;
        values.push(next);
        let Some(following) = next.checked_add(step) else { break };
        next = following;
    }
    Ok(values)
}

fn sequence(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let numbers: Vec<i64> = arguments.iter().map(Value::integer).collect();
    let (start, end, step) = match numbers[..] {
        [end] => (1, end, if end < 1 { -1 } else { 1 }),
        [start, end] => (start, end, if end < start { -1 } else { 1 }),
        [start, step, end] if end >= start || step <= 0 => (start, end, step),
        _ => return Ok(Value::text("")),
    };
    let stop = end.saturating_add(if end < start { -1 } else { 1 });
    let numbers = series(run, start, stop, step)?;
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    Ok(Value::text(words.join(" ")))
}
