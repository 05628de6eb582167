// What to do where the server's WAL cannot be decoded; who does not start and who makes the publication say the same.

export const RAISE_WAL_LEVEL =
  "the connector needs wal_level=logical. Run ALTER SYSTEM SET wal_level = 'logical' and restart the server.";
