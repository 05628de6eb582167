// Which element an issue is about, in words of FHIR alone. A server writes these paths and may quote the patient in them;
// so only names that R4 has in the resources that we send are repeated, and a name of a person is none of them.

/**
 * Every element of https://hl7.org/fhir/R4/patient.html and of its data types, choices also as they stand in JSON; then those that
 * https://hl7.org/fhir/R4/encounter.html and https://hl7.org/fhir/R4/observation.html add. A resource of another type adds its own.
 */
const ELEMENTS = new Set(
  `active address assigner birthDate city code coding communication contact contained contentType country creation data
  deceased deceasedBoolean deceasedDateTime display district div end extension family gender generalPractitioner given
  hash id identifier implicitRules language lastUpdated line link managingOrganization maritalStatus meta
  modifierExtension multipleBirth multipleBirthBoolean multipleBirthInteger name organization other period photo
  postalCode preferred prefix profile rank reference relationship security size source start state status suffix system
  tag telecom text title type url use userSelected value valueBoolean valueCode valueCodeableConcept valueCoding valueDate
  valueString version versionId
  account admitSource appointment basedOn bodySite category class classHistory code comparator component condition dataAbsentReason
  derivedFrom destination device diagnosis dietPreference dischargeDisposition effectiveDateTime effectiveInstant effectivePeriod
  effectiveTiming encounter episodeOfCare focus hasMember high hospitalization individual interpretation issued length location low
  method note origin partOf participant performer physicalType position preAdmissionIdentifier priority reAdmission reasonCode
  reasonReference referenceRange role serviceProvider serviceType specialArrangement specialCourtesy specimen statusHistory subject
  time unit valueInteger valueQuantity valueRange valueDateTime`.split(/\s+/),
);

const ROOTS = new Set(['Patient', 'Encounter', 'Observation']);

const TYPES = new Set(
  'boolean code date dateTime integer string uri Address CodeableConcept Coding Identifier Period Reference'.split(' '),
);

/** A name with an index, and perhaps a type: value.ofType(Coding). No other function: where(value='…') holds a value. */
const STEP = /^([a-z][A-Za-z]*)(?:\[\d{1,3}\])?$/;
const TYPE = /\.ofType\(([A-Za-z]+)\)/g;

/** No path of R4's is nearly as long. */
const LONGEST = 200;

/** As `Patient.name[0].family`, from `expression` or `location`; false for what is or may be anything else. */
export function isElementPath(path: string): boolean {
  if (path.length > LONGEST) return false;
  const types = [...path.matchAll(TYPE)].map(([, type = '']) => type);
  const [root = '', ...steps] = path.replace(TYPE, '').split('.');
  return ROOTS.has(root) && steps.every(isElement) && types.every((type) => TYPES.has(type));
}

/** The elements that HAPI's parser names in diagnostics, as [element="birthDate"], where it gives no path. */
export function elementsNamed(diagnostics: string): string[] {
  return [...diagnostics.matchAll(/\[element="([A-Za-z]+)"\]/g)]
    .map(([, name = '']) => name)
    .filter((name) => ELEMENTS.has(name));
}

function isElement(step: string): boolean {
  return isElementName(STEP.exec(step)?.[1] ?? '');
}

export function isElementName(name: string): boolean {
  return ELEMENTS.has(name);
}
