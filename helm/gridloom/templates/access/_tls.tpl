{{/* Certificates: the one of the platform's address, and the one that services show each other. */}}

{{- define "gridloom.tlsEnabled" -}}
{{- if ne .Values.tls.mode "off" -}}yes{{- end -}}
{{- end -}}

{{- define "gridloom.tlsSecret" -}}
{{- if eq .Values.tls.mode "secret" -}}
{{- .Values.tls.existingSecret -}}
{{- else -}}
{{- printf "%s-tls" (include "gridloom.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* The names that a certificate of ours is good for: a list in YAML. */}}
{{- define "gridloom.tlsNames" -}}
{{- $front := printf "%s-front" (include "gridloom.fullname" .) -}}
{{- with .Values.address.host }}
- {{ . }}
{{- end }}
- localhost
- {{ $front }}
- {{ $front }}.{{ .Release.Namespace }}
- {{ $front }}.{{ .Release.Namespace }}.svc
- {{ $front }}.{{ .Release.Namespace }}.svc.cluster.local
{{- range .Values.tls.extraNames }}
{{- if not (regexMatch "^[0-9.]+$|:" .) }}
- {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Those of `tls.extraNames` that are addresses: a list in YAML. */}}
{{- define "gridloom.tlsAddresses" -}}
{{- range .Values.tls.extraNames }}
{{- if regexMatch "^[0-9.]+$|:" . }}
- {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Changes when the certificate is to be another; a renewal of the same is seen by the front itself. */}}
{{- define "gridloom.tlsWanted" -}}
{{- list .Values.tls (include "gridloom.tlsNames" .) (include "gridloom.tlsAddresses" .) | toJson -}}
{{- end -}}

{{/* Whether services speak TLS with each other, and show each other a certificate. */}}
{{- define "gridloom.internalTls" -}}
{{- if ne .Values.tls.internal.mode "off" -}}yes{{- end -}}
{{- end -}}

{{- define "gridloom.internalSecret" -}}
{{- if eq .Values.tls.internal.mode "secret" -}}
{{- .Values.tls.internal.existingSecret -}}
{{- else -}}
{{- printf "%s-internal" (include "gridloom.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* The names that services call each other by: a list in YAML. */}}
{{- define "gridloom.internalNames" -}}
{{- range $service := list "scheduler" "functions" "objects" "mpi" }}
{{- $name := printf "%s-%s" (include "gridloom.fullname" $) $service }}
- {{ $name }}
- {{ $name }}.{{ $.Release.Namespace }}
- {{ $name }}.{{ $.Release.Namespace }}.svc
- {{ $name }}.{{ $.Release.Namespace }}.svc.cluster.local
{{- end }}
{{- end -}}

{{/* The volume with what services show each other, and whom they trust. */}}
{{- define "gridloom.internalVolume" -}}
- name: internal
  secret:
    secretName: {{ include "gridloom.internalSecret" . }}
    defaultMode: 0440
    items:
      - {key: ca.crt, path: ca.crt}
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
{{- end -}}

{{/* How a port of a service is spoken to, for gateways and meshes. */}}
{{- define "gridloom.serviceProtocol" -}}
{{- ternary "https" "kubernetes.io/h2c" (eq (include "gridloom.internalTls" .) "yes") -}}
{{- end -}}

{{/*
{root, service}: where a gateway leads the calls of a service: to it, or, as a gateway has no
certificate that services would let in, to the front's port inside.
*/}}
{{- define "gridloom.backend" -}}
{{- $part := ternary "inner" .service (eq (include "gridloom.internalTls" .root) "yes") -}}
{{- printf "%s-%s" (include "gridloom.fullname" .root) $part -}}
{{- end -}}

{{/*
An authority and a certificate, made at the first install and kept by every upgrade. Where the names
change the certificate is made anew, by the same authority: whom others trust stays.
{root, authority, pair, dns, ips}: components of the two Secrets, and the names.
*/}}
{{- define "gridloom.selfSigned" -}}
{{- $full := include "gridloom.fullname" .root }}
{{- $namespace := .root.Release.Namespace }}
{{- $names := concat .dns .ips | join "," }}
{{- $kept := (lookup "v1" "Secret" $namespace (printf "%s-%s" $full .authority)).data | default dict }}
{{- $before := (lookup "v1" "Secret" $namespace (printf "%s-%s" $full .pair)) | default dict }}
{{- $pair := $before.data | default dict }}
{{- $isSame := eq $names (dig "metadata" "annotations" "gridloom.dev/names" "" $before) }}
{{- if not (and $isSame $kept) }}
{{- $authority := dict }}
{{- if $kept }}
{{- $authority = buildCustomCert (index $kept "ca.crt") (index $kept "ca.key") }}
{{- else }}
{{- $authority = genCA (printf "gridloom %s" .authority) 3650 }}
{{- end }}
{{- $made := genSignedCert (first .dns) .ips .dns 3650 $authority }}
{{- $kept = dict "ca.crt" (b64enc $authority.Cert) "ca.key" (b64enc $authority.Key) }}
{{- $pair = dict "tls.crt" (b64enc $made.Cert) "tls.key" (b64enc $made.Key) }}
{{- end -}}
apiVersion: v1
kind: Secret
metadata:
  {{- include "gridloom.metadata" (dict "root" .root "component" .authority) | nindent 2 }}
type: Opaque
data:
  ca.crt: {{ index $kept "ca.crt" }}
  ca.key: {{ index $kept "ca.key" }}
---
apiVersion: v1
kind: Secret
metadata:
  {{- include "gridloom.metadata" (dict "root" .root "component" .pair) | nindent 2 }}
  annotations:
    gridloom.dev/names: {{ $names | quote }}
type: kubernetes.io/tls
data:
  ca.crt: {{ index $kept "ca.crt" }}
  tls.crt: {{ index $pair "tls.crt" }}
  tls.key: {{ index $pair "tls.key" }}
{{- end -}}

{{/* {root, component, secret, wanted, dns, ips, usages}: a certificate by cert-manager. */}}
{{- define "gridloom.managedCertificate" -}}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  {{- include "gridloom.metadata" . | nindent 2 }}
spec:
  secretName: {{ .secret }}
  duration: {{ .wanted.duration }}
  privateKey:
    algorithm: ECDSA
    size: 256
    rotationPolicy: Always
  {{- with .usages }}
  usages:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  dnsNames:
    {{- .dns | nindent 4 }}
  {{- with .ips }}
  ipAddresses:
    {{- . | nindent 4 }}
  {{- end }}
  issuerRef:
    group: {{ .wanted.issuer.group }}
    kind: {{ .wanted.issuer.kind }}
    name: {{ .wanted.issuer.name }}
{{- end -}}
