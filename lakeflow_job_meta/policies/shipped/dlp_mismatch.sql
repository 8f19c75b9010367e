-- name: dlp_mismatch
-- description: >
--   Files whose labels say another level of confidentiality than the labels of the DLP system do, or none while it
--   has one, or the other way round. Files of which nothing is known from a DLP system are left out.
-- severity: high
-- key: [file_key]
-- parameters:
--   levels: Public, Internal, Confidential, Highly confidential
WITH ours AS (
  SELECT file_key, array_join(sort_array(collect_set(label)), ', ') AS level
  FROM (SELECT file_key, explode(label_names) AS label FROM snapshot)
  WHERE array_contains(split(lower(:levels), ' *, *'), lower(label))
  GROUP BY file_key
),
theirs AS (
  SELECT file_key, array_join(sort_array(collect_set(dlp.name)), ', ') AS level
  FROM (
    SELECT
      file_key,
      explode(
        from_json(concat('{"labels":', dlpLabels_json, '}'), 'STRUCT<labels: ARRAY<STRUCT<name: STRING>>>').labels
      ) AS dlp
    FROM snapshot
  )
  WHERE array_contains(split(lower(:levels), ' *, *'), lower(dlp.name))
  GROUP BY file_key
)
SELECT
  s.file_key,
  s.path,
  s.content_sha256,
  s.size AS size_bytes,
  s.last_modified_at,
  s.label_names AS labels,
  coalesce(o.level, '') AS label_level,
  coalesce(t.level, '') AS dlp_level
FROM snapshot AS s
LEFT JOIN ours AS o ON s.file_key = o.file_key
LEFT JOIN theirs AS t ON s.file_key = t.file_key
WHERE s.dlpLabels_json IS NOT NULL
  AND lower(coalesce(o.level, '')) <> lower(coalesce(t.level, ''))
