-- name: large_media
-- description: Videos above a size, which belong on the media share.
-- severity: low
-- on_violation: warn
-- max_violations: 10
-- key: [file_key]
-- parameters: {min_bytes: 1000000000}
SELECT file_key, path, content_sha256, size AS size_bytes, last_modified_at, label_names AS labels
FROM snapshot
WHERE mime_type LIKE 'video/%' AND size > :min_bytes
