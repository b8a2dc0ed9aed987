//! Ranges of addresses.

use super::{Arguments, Outcome};
use crate::value::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range: its first address as a number, the bits of an address, and how many of them the prefix has.
struct Range {
    first: u128,
    bits: u32,
    prefix: u32,
}

impl Range {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no range of addresses such as 10.0.0.0/8");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let (address, bits) = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => (u128::from(address.to_bits()), 32),
            Ok(IpAddr::V6(address)) => (address.to_bits(), 128),
            Err(_) => return Err(wrong()),
        };
        let prefix: u32 = prefix
            .parse()
            .ok()
            .filter(|prefix| *prefix <= bits)
            .ok_or_else(wrong)?;
        Ok(Self {
            first: address & mask(bits, prefix),
            bits,
            prefix,
        })
    }

    fn address(&self, number: u128) -> String {
        if self.bits == 32 {
            let number = u32::try_from(number & u128::from(u32::MAX)).unwrap_or_default();
            return Ipv4Addr::from_bits(number).to_string();
        }
        Ipv6Addr::from_bits(number).to_string()
    }

    /// The part of the range with so many more bits in its prefix, by its number.
    fn part(&self, more: u32, number: u128) -> Result<Self, String> {
        let prefix = self.prefix + more;
        if prefix > self.bits {
            return Err(format!("a prefix of {prefix} bits is longer than an address"));
        }
        if more < 128 && number >> more != 0 {
            return Err(format!("{more} more bits have no number {number}"));
        }
        let shift = self.bits - prefix;
        Ok(Self {
            first: self.first | number.checked_shl(shift).unwrap_or(0),
            bits: self.bits,
            prefix,
        })
    }

    fn text(&self) -> Value {
        Value::Text(format!("{}/{}", self.address(self.first), self.prefix))
    }
}

fn mask(bits: u32, prefix: u32) -> u128 {
    let all = if bits == 128 { u128::MAX } else { (1 << bits) - 1 };
    all & !(all.checked_shr(prefix).unwrap_or(0))
}

pub(super) fn call(name: &str, arguments: Arguments<'_>) -> Option<Outcome> {
    Some(match name {
        "cidrhost" => host(arguments),
        "cidrnetmask" => arguments.text(0).and_then(|text| {
            let range = Range::parse(&text)?;
            if range.bits != 32 {
                return Err("only ranges of IPv4 have a mask".to_owned());
            }
            Ok(Value::Text(range.address(mask(32, range.prefix))))
        }),
        "cidrsubnet" => subnet(arguments),
        "cidrsubnets" => subnets(arguments),
        _ => return None,
    })
}

fn host(arguments: Arguments<'_>) -> Outcome {
    let (range, number) = (Range::parse(&arguments.text(0)?)?, arguments.whole(1)?);
    let size = 1u128.checked_shl(range.bits - range.prefix);
    let offset = match (u128::try_from(number), size) {
        (Ok(number), size) if size.is_none_or(|size| number < size) => number,
        // A negative number counts from the end.
        (Err(_), Some(size)) if number.unsigned_abs() <= size => size - number.unsigned_abs(),
        _ => return Err(format!("the range has no address number {number}")),
    };
    Ok(Value::Text(range.address(range.first + offset)))
}

fn more_bits(arguments: Arguments<'_>, place: usize) -> Result<u32, String> {
    let bits = arguments.number(place)?;
    let bits = bits
        .index()
        .and_then(|bits| u32::try_from(bits).ok())
        .filter(|bits| *bits <= 128);
    bits.ok_or_else(|| format!("argument {} is a number of bits", place + 1))
}

fn subnet(arguments: Arguments<'_>) -> Outcome {
    let range = Range::parse(&arguments.text(0)?)?;
    let number = arguments.whole(2)?;
    let Ok(number) = u128::try_from(number) else {
        return Err(format!("there is no part number {number}"));
    };
    Ok(range.part(more_bits(arguments, 1)?, number)?.text())
}

/// Parts one behind the other, each as large as its argument says.
fn subnets(arguments: Arguments<'_>) -> Outcome {
    let range = Range::parse(&arguments.text(0)?)?;
    let mut parts = Vec::new();
    let mut next = range.first;
    for place in 1..arguments.0.len() {
        let more = more_bits(arguments, place)?;
        let prefix = range.prefix + more;
        if prefix > range.bits {
            return Err(format!("a prefix of {prefix} bits is longer than an address"));
        }
        let size = 1u128
            .checked_shl(range.bits - prefix)
            .ok_or("the range is too large")?;
        let first = next
            .div_ceil(size)
            .checked_mul(size)
            .ok_or("the range is too small")?;
        let last = first.checked_add(size - 1).ok_or("the range is too small")?;
        if last & mask(range.bits, range.prefix) != range.first {
            return Err(format!("the range is too small for part {place}"));
        }
        next = last.wrapping_add(1);
        parts.push(
            Range {
                first,
                bits: range.bits,
                prefix,
            }
            .text(),
        );
    }
    Ok(Value::List(parts))
}
