SELECT 'stages' AS report, 1 AS pages
