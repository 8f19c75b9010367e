-- name: retention_gap
-- description: Records, by label, that were last changed longer ago than they have to be kept, and are still there.
-- severity: high
-- key: [file_key]
-- parameters:
--   record_labels: Records, Record
--   retention_days: 2557
--   hold_labels: Legal hold
SELECT
  file_key,
  path,
  content_sha256,
  size AS size_bytes,
  last_modified_at,
  label_names AS labels,
  datediff(current_date(), coalesce(last_modified_at, created_at)) AS age_days,
  datediff(current_date(), coalesce(last_modified_at, created_at)) - :retention_days AS overdue_days,
  coalesce(arrays_overlap(split(lower(nullif(array_join(label_names, '\n'), '')), '\n'), split(lower(:hold_labels), ' *, *')), false)
    AS legal_hold
FROM snapshot
WHERE arrays_overlap(split(lower(nullif(array_join(label_names, '\n'), '')), '\n'), split(lower(:record_labels), ' *, *'))
  AND coalesce(last_modified_at, created_at) < date_sub(current_date(), CAST(:retention_days AS INT))
