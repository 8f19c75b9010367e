-- name: legal_hold
-- description: >
--   Files on legal hold that are gone since an earlier snapshot, or that carry a label which has them deleted.
-- severity: critical
-- key: [file_key, reason]
-- parameters:
--   hold_labels: Legal hold
--   deletion_labels: ROT, Redundant, Obsolete, Trivial, Delete
WITH last_known AS (
  SELECT file_key, max(ingestion_date) AS ingestion_date
  FROM history
  GROUP BY file_key
),
newest AS (
  SELECT max(ingestion_date) AS ingestion_date FROM history
)
SELECT
  h.file_key,
  h.path,
  h.content_sha256,
  h.size AS size_bytes,
  h.last_modified_at,
  h.label_names AS labels,
  true AS legal_hold,
  k.ingestion_date AS last_known_on,
  CASE WHEN k.ingestion_date < n.ingestion_date THEN 'deleted' ELSE 'labelled for deletion' END AS reason
FROM history AS h
JOIN last_known AS k ON h.file_key = k.file_key AND h.ingestion_date = k.ingestion_date
CROSS JOIN newest AS n
WHERE arrays_overlap(split(lower(nullif(array_join(h.label_names, '\n'), '')), '\n'), split(lower(:hold_labels), ' *, *'))
  AND (
    k.ingestion_date < n.ingestion_date
    OR arrays_overlap(split(lower(nullif(array_join(h.label_names, '\n'), '')), '\n'), split(lower(:deletion_labels), ' *, *'))
  )
