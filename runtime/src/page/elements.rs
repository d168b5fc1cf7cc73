//! What every page and picture must be, for tests.

/// The names of all elements of well-formed markup that fetches nothing.
pub(crate) fn elements(markup: &str) -> Vec<&str> {
    for fetched in ["src=", "href=", "url(", "@import"] {
        assert!(!markup.contains(fetched), "{fetched}");
    }
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    for part in markup.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag ends");
        assert!(
            !text.contains('>') && tag.matches('"').count() % 2 == 0,
            "{part}"
        );
        // The document's type.
        if tag.starts_with('!') {
            continue;
        }
        let name = tag.split([' ', '/', '\n']).find(|name| !name.is_empty());
        let name = name.expect("a tag has a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        seen.push(name);
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} never end");
    seen
}
