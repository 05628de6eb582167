// Who may read a replication slot: the condition as SQL, and the statement that gives it where it is missing.

/**
 * True where the user of the connection may replicate: by the attribute, or on Amazon RDS and Aurora, which give it to nobody,
 * by membership in their role rds_replication. Elsewhere there is no such role, and the membership is asked of no name.
 * https://www.postgresql.org/docs/current/role-attributes.html
 * https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL.Concepts.General.FeatureSupport.LogicalReplication.html
 */
export const MAY_REPLICATE = `(
  (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)
  OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication' AND pg_has_role(current_user, oid, 'MEMBER')))`;

/** For a user that may not; `user` as it is written in SQL. */
export const giveReplication = (user: string) => ({
  attribute: `ALTER ROLE ${user} REPLICATION`,
  onRds: `GRANT rds_replication TO ${user}`,
});
