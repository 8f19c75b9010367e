-- name: stale_data
-- description: Files that nobody changed for years. Records have a period of their own and are left out.
-- severity: low
-- on_violation: warn
-- key: [file_key]
-- parameters:
--   stale_days: 1095
--   record_labels: Records, Record
--   hold_labels: Legal hold
SELECT
  file_key,
  path,
  content_sha256,
  size AS size_bytes,
  last_modified_at,
  label_names AS labels,
  datediff(current_date(), coalesce(last_modified_at, created_at)) AS age_days,
  coalesce(arrays_overlap(split(lower(nullif(array_join(label_names, '\n'), '')), '\n'), split(lower(:hold_labels), ' *, *')), false)
    AS legal_hold
FROM snapshot
WHERE coalesce(last_modified_at, created_at) < date_sub(current_date(), CAST(:stale_days AS INT))
  AND NOT coalesce(arrays_overlap(split(lower(nullif(array_join(label_names, '\n'), '')), '\n'), split(lower(:record_labels), ' *, *')), false)
