-- name: over_exposed
-- description: Sensitive files, by label, that a group of everybody can read.
-- severity: critical
-- key: [file_key, principal]
-- parameters:
--   sensitive_labels: Confidential, Personal data, Payment card data, Financial, Health, Human resources
--   everyone: Everyone, Authenticated Users, Domain Users, Everyone except external users, All Users
WITH readers AS (
  SELECT
    file_key, path, content_sha256, size, last_modified_at, label_names,
    explode(from_json(
      entitlements_json,
      'STRUCT<whoCanAccess: ARRAY<STRUCT<accountType: STRING, name: STRING, email: STRING>>>'
    ).whoCanAccess) AS who
  FROM snapshot
  WHERE arrays_overlap(split(lower(nullif(array_join(label_names, '\n'), '')), '\n'), split(lower(:sensitive_labels), ' *, *'))
)
SELECT DISTINCT
  file_key,
  path,
  content_sha256,
  size AS size_bytes,
  last_modified_at,
  label_names AS labels,
  who.name AS principal,
  who.accountType AS principal_type
FROM readers
WHERE array_contains(split(lower(:everyone), ' *, *'), lower(who.name))
