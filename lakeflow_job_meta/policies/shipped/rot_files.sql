-- name: rot_files
-- description: Redundant, obsolete and trivial files, by label. What is on legal hold is left out.
-- severity: low
-- on_violation: warn
-- key: [file_key]
-- parameters:
--   rot_labels: ROT, Redundant, Obsolete, Trivial
--   hold_labels: Legal hold
SELECT
  file_key,
  path,
  content_sha256,
  size AS size_bytes,
  last_modified_at,
  label_names AS labels,
  false AS legal_hold
FROM snapshot
WHERE arrays_overlap(split(lower(nullif(array_join(label_names, '\n'), '')), '\n'), split(lower(:rot_labels), ' *, *'))
  AND NOT arrays_overlap(split(lower(nullif(array_join(label_names, '\n'), '')), '\n'), split(lower(:hold_labels), ' *, *'))
