use crate::error::Failure;
use crate::place::Placement;
use crate::source::Found;
pub(crate) fn unpack(_: &Placement<'_>, _: &Found) -> Result<bool, Failure> {
    Ok(false)
}
