-- name: missing_classification
-- description: Files that were discovered but never looked into. No label after a look is an answer, and passes.
-- severity: medium
-- on_violation: warn
-- key: [file_key]
-- parameters:
--   min_size: 1
SELECT
  file_key,
  path,
  content_sha256,
  size AS size_bytes,
  last_modified_at,
  scan_depth,
  metadata_extraction_status
FROM snapshot
WHERE (scan_depth IS NULL OR scan_depth <> 'DISCOVERY_AND_CLASSIFICATION')
  AND coalesce(size, 0) >= :min_size
