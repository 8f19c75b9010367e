-- name: duplicate_files
-- description: >
--   Files with the same content, by hash. Empty files are no duplicates of one another; every copy is a row, so that
--   remediation can choose which one stays.
-- severity: medium
-- key: [file_key, content_sha256]
-- parameters:
--   min_size: 1
--   hold_labels: Legal hold
WITH copies AS (
  SELECT content_sha256, count(*) AS copies
  FROM snapshot
  WHERE content_sha256 IS NOT NULL AND size >= :min_size
  GROUP BY content_sha256
  HAVING count(*) > 1
)
SELECT
  s.file_key,
  s.path,
  s.content_sha256,
  s.size AS size_bytes,
  s.last_modified_at,
  s.label_names AS labels,
  c.copies,
  coalesce(arrays_overlap(split(lower(nullif(array_join(s.label_names, '\n'), '')), '\n'), split(lower(:hold_labels), ' *, *')), false)
    AS legal_hold
FROM snapshot AS s
JOIN copies AS c ON s.content_sha256 = c.content_sha256
WHERE s.size >= :min_size
