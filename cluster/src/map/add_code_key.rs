//! Adding a key of coupon codes, which new campaigns use from then on.

use super::{MetaRefusal, ShardMap};
use crate::code::{CODE_KEYS_MAX, CodeKey};
use crate::ids::KeyId;

impl ShardMap {
    /// The key that new campaigns use; `None` before the cluster is initialized.
    #[must_use]
    pub fn newest_code_key(&self) -> Option<KeyId> {
        self.code_keys.keys().next_back().copied()
    }

    /// Adds a key with the next id. Older keys stay, since people hold their codes.
    pub(super) fn add_code_key(&mut self, key: CodeKey) -> Result<(), MetaRefusal> {
        match self.code_keys.get(&key.id) {
            Some(known) if *known == key => return Ok(()),
            Some(_) => return Err(MetaRefusal::CodeKeyTaken(key.id)),
            None => {}
        }
        let next = KeyId(self.newest_code_key().map_or(0, KeyId::get).saturating_add(1));
        if key.id != next {
            return Err(MetaRefusal::CodeKeyNotNext { key: key.id, next });
        }
        if self.code_keys.len() >= CODE_KEYS_MAX {
            return Err(MetaRefusal::TooManyCodeKeys);
        }
        self.code_keys.insert(key.id, key);
        self.version += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::MetaCommand;
    use crate::map::genesis::tests::genesis_of;

    #[test]
    fn keys_are_added_in_order_and_kept() {
        let mut map = genesis_of(3, 2, 3);
        let first = map.code_keys.clone();
        let key = |id: u32, byte| CodeKey { id: KeyId(id), secret: [byte; 32] };
        let mut add = |key| map.apply(MetaCommand::AddCodeKey(key)).map(|()| map.version);
        assert_eq!(add(key(2, 2)), Ok(2));
        assert_eq!(add(key(2, 2)), Ok(2), "a retry changes nothing");
        assert_eq!(add(key(2, 3)), Err(MetaRefusal::CodeKeyTaken(KeyId(2))));
        let refused = MetaRefusal::CodeKeyNotNext { key: KeyId(4), next: KeyId(3) };
        assert_eq!(add(key(4, 4)), Err(refused));
        assert_eq!((add(key(3, 3)), add(key(4, 4))), (Ok(3), Ok(4)));
        assert_eq!(add(key(5, 5)), Err(MetaRefusal::TooManyCodeKeys));
        assert_eq!(map.code_keys.len(), 4);
        assert_eq!(map.code_keys.first_key_value(), first.first_key_value());
        assert_eq!(map.check(), Ok(()));
    }
}
