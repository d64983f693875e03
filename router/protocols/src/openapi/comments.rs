//! The comments of the definitions.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor};

/// The leading comments of all elements, by file and by the element's path in it.
pub(super) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    pub(super) fn new(pool: &DescriptorPool) -> Self {
        let mut comments = HashMap::new();
        for file in pool.files() {
            let proto = file.file_descriptor_proto();
            let locations = proto.source_code_info.iter().flat_map(|info| &info.location);
            for location in locations {
                let Some(comment) = &location.leading_comments else { continue };
                let lines = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
                let text = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
                comments.insert((file.name().to_owned(), location.path.clone()), text);
            }
        }
        Self(comments)
    }

    /// The comment of an element; empty if it has none.
    pub(super) fn of(&self, file: &FileDescriptor, path: &[i32]) -> String {
        let place = (file.name().to_owned(), path.to_vec());
        self.0.get(&place).cloned().unwrap_or_default()
    }
}
