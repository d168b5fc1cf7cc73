//! `peerwren story`: what a trace says of one block.

use peerwren::trace::Story;

use super::args::StoryArgs;
use super::failure::Failure;

/// Prints the story that the arguments ask for.
pub(crate) fn run(arguments: &StoryArgs) -> Result<(), Failure> {
    let story = Story::read(&arguments.trace, &arguments.key).map_err(Failure::usage)?;
    super::print(story.to_string().as_bytes())
}
