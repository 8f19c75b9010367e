SELECT count(*) AS orders FROM VALUES (1), (2) AS orders(id)
