"""The common tools of all rooms: visitor, access, page, frame, forms, live parts, previews."""
