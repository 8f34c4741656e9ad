use sekisho_core::id::RuntimeId;

use crate::args::Global;
use crate::failure::Failure;
use crate::show::Show;

pub(crate) fn run(_: &Global, _: &[RuntimeId], _: bool, _: Show) -> Result<(), Failure> {
    Ok(())
}
